-- Picks a key. See local.rs, which does the same without Redis.
-- KEYS: the provider's hash. ARGV: now in ms or '', model, lease of a probe in ms, mark of a probe, when a day ends in ms,
-- daily limit or '', longest wait in ms that is told while a probe runs, number of groups, and of each group its name, the
-- number of its keys, and each key's id: '' where it must not be used, '-' before it where it was tried already.
-- Answers with {place, whether it is a probe, uses today, how often the breaker opened}, or with {why not, ms to wait}; and
-- in the end with the last time that cooldowns and breakers were forgotten.
local hash, model = KEYS[1], ARGV[2]
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local get = function(field) return tonumber(redis.call('HGET', hash, field) or '') end
local whole = function(number) return string.format('%.0f', number) end
local warmed = get('warmed') or 0
local open, is_probe = get('b:' .. model), 0
if open then
  if now < open then return { -2, open - now, warmed } end
  local probe = get('p:' .. model)
  if probe and now < probe then return { -2, math.min(probe - now, tonumber(ARGV[7])), warmed } end
  is_probe = 1
end
local day_ends = tonumber(ARGV[5])
if day_ends <= now then day_ends = day_ends + 86400000 end
local limit = tonumber(ARGV[6])
local groups, soonest, at, place = {}, nil, 9, 0
for g = 1, tonumber(ARGV[8]) do
  local group = { name = ARGV[at], keys = {} }
  local cool = get('c:' .. group.name) or 0
  local count = tonumber(ARGV[at + 1])
  for k = 1, count do
    local id = ARGV[at + 1 + k]
    local is_tried = string.sub(id, 1, 1) == '-'
    if is_tried then id = string.sub(id, 2) end
    if id ~= '' then
      local used, reset = get('n:' .. id) or 0, get('r:' .. id)
      if not reset or now >= reset then used, reset = 0, day_ends end
      local free = math.max(cool, get('s:' .. id) or 0)
      if limit and used >= limit then free = math.max(free, reset) end
      if now < free then
        if not soonest or free < soonest then soonest = free end
      elseif not is_tried then
        group.keys[#group.keys + 1] = { id = id, place = place + k - 1, used = used, reset = reset }
      end
    end
  end
  if #group.keys > 0 then groups[#groups + 1] = group end
  place, at = place + count, at + 2 + count
end
if #groups == 0 then
  if soonest then return { -1, soonest - now, warmed } end
  return { -3, 0, warmed }
end
local turn = redis.call('HINCRBY', hash, 'turn', 1) - 1
local group = groups[turn % #groups + 1]
local key = group.keys[(redis.call('HINCRBY', hash, 't:' .. group.name, 1) - 1) % #group.keys + 1]
redis.call('HSET', hash, 'n:' .. key.id, key.used + 1, 'r:' .. key.id, whole(key.reset))
if is_probe == 1 then
  redis.call('HSET', hash, 'p:' .. model, whole(now + tonumber(ARGV[3])), 'q:' .. model, ARGV[4])
end
redis.call('PEXPIRE', hash, 172800000)
return { key.place, is_probe, key.used + 1, get('o:' .. model) or 0, warmed }
