-- Notes what came of a call. See local.rs, which does the same without Redis.
-- KEYS: the provider's hash. ARGV: now in ms or '', what, and what belongs to it. Answers with one number.
local hash, what = KEYS[1], ARGV[2]
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local get = function(field) return tonumber(redis.call('HGET', hash, field) or '') end
redis.call('PEXPIRE', hash, 172800000)
if what == 'cool' then
  -- group, ms: never shortened
  local cool = math.max(get('c:' .. ARGV[3]) or 0, now + tonumber(ARGV[4]))
  redis.call('HSET', hash, 'c:' .. ARGV[3], cool)
  return { cool - now }
elseif what == 'spend' then
  -- key, ms: nothing is left of its day
  redis.call('HSET', hash, 'n:' .. ARGV[3], '1000000000000000', 'r:' .. ARGV[3], now + tonumber(ARGV[4]))
  return { tonumber(ARGV[4]) }
elseif what == 'return' then
  -- key: it was not used after all
  local used = get('n:' .. ARGV[3])
  if used and used > 0 and used < 1e15 then redis.call('HINCRBY', hash, 'n:' .. ARGV[3], -1) end
  return { 0 }
elseif what == 'open' then
  -- model, first ms, longest ms: doubles with each time that it opens again
  local model, open = ARGV[3], get('b:' .. ARGV[3])
  if open and now < open then return { open - now } end
  local times = redis.call('HINCRBY', hash, 'o:' .. model, 1)
  local wait = math.min(tonumber(ARGV[4]) * 2 ^ (times - 1), tonumber(ARGV[5]))
  redis.call('HSET', hash, 'b:' .. model, now + wait)
  redis.call('HDEL', hash, 'p:' .. model)
  return { wait }
elseif what == 'close' then
  redis.call('HDEL', hash, 'b:' .. ARGV[3], 'o:' .. ARGV[3], 'p:' .. ARGV[3])
  return { 0 }
elseif what == 'unprobe' then
  redis.call('HDEL', hash, 'p:' .. ARGV[3])
  return { 0 }
elseif what == 'warm' then
  -- all cooldowns, days and breakers are forgotten
  local fields = redis.call('HKEYS', hash)
  for i = 1, #fields do
    if fields[i] ~= 'turn' then redis.call('HDEL', hash, fields[i]) end
  end
  return { 0 }
end
return { -1 }
