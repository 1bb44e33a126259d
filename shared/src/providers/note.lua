-- Notes what came of a call. See local.rs, which does the same without Redis.
-- KEYS: the provider's hash. ARGV: now in ms or '', what, and what belongs to it. Answers with one number.
local hash, what = KEYS[1], ARGV[2]
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local get = function(field) return tonumber(redis.call('HGET', hash, field) or '') end
-- Until then, and never shorter than before.
local extend = function(field, millis)
  local at = math.max(get(field) or 0, now + millis)
  redis.call('HSET', hash, field, string.format('%.0f', at))
  return { at - now }
end
redis.call('PEXPIRE', hash, 172800000)
if what == 'cool' then
  -- group, ms, and where it was known before: the last time that was forgotten. What was forgotten since is no news
  if ARGV[5] and (get('warmed') or 0) > tonumber(ARGV[5]) then return { 0 } end
  return extend('c:' .. ARGV[3], tonumber(ARGV[4]))
elseif what == 'spend' then
  -- key, ms: nothing is left of its day
  return extend('s:' .. ARGV[3], tonumber(ARGV[4]))
elseif what == 'return' then
  -- key: it was not used after all
  local used = get('n:' .. ARGV[3])
  if used and used > 0 then redis.call('HINCRBY', hash, 'n:' .. ARGV[3], -1) end
  return { 0 }
elseif what == 'open' then
  -- model, first ms, longest ms, how often it had opened: what was begun before says nothing any more. Doubles with each
  -- time in a row.
  local model, open = ARGV[3], get('b:' .. ARGV[3])
  local times = get('o:' .. model) or 0
  if times ~= tonumber(ARGV[6]) then return { 0 } end
  if open and now < open then return { open - now } end
  local wait = math.min(tonumber(ARGV[4]) * 2 ^ times, tonumber(ARGV[5]))
  redis.call('HSET', hash, 'b:' .. model, string.format('%.0f', now + wait), 'o:' .. model, times + 1)
  redis.call('HDEL', hash, 'p:' .. model, 'q:' .. model)
  return { wait }
elseif what == 'close' then
  -- model
  redis.call('HDEL', hash, 'b:' .. ARGV[3], 'o:' .. ARGV[3], 'p:' .. ARGV[3], 'q:' .. ARGV[3])
  return { 0 }
elseif what == 'unprobe' then
  -- model, mark: another one's probe goes on
  if redis.call('HGET', hash, 'q:' .. ARGV[3]) == ARGV[4] then
    redis.call('HDEL', hash, 'p:' .. ARGV[3], 'q:' .. ARGV[3])
  end
  return { 0 }
elseif what == 'warm' then
  -- all cooldowns, days and breakers are forgotten; by the time of that, which grows, others know that they shall, too
  local warmed = math.max(now, (get('warmed') or 0) + 1)
  local fields = redis.call('HKEYS', hash)
  for i = 1, #fields do
    if fields[i] ~= 'turn' and string.sub(fields[i], 1, 2) ~= 't:' then redis.call('HDEL', hash, fields[i]) end
  end
  redis.call('HSET', hash, 'warmed', string.format('%.0f', warmed))
  return { warmed }
elseif what == 'warmed' then
  -- the last time of that
  return { get('warmed') or 0 }
end
return { -1 }
