-- Picks a key. See local.rs, which does the same without Redis.
-- KEYS: the provider's hash. ARGV: now in ms or '', model, lease of a probe in ms, when a day ends in ms, daily limit or '',
-- number of groups, and of each group its name, the number of its keys, and each key's id, or '' where it must not be used.
local hash, model = KEYS[1], ARGV[2]
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local get = function(field) return tonumber(redis.call('HGET', hash, field) or '') end
local open, is_probe = get('b:' .. model), 0
if open then
  if now < open then return { -2, open - now } end
  local probe = get('p:' .. model)
  if probe and now < probe then return { -2, probe - now } end
  is_probe = 1
end
local limit = tonumber(ARGV[5]) or 1e15
local groups, at, place = {}, 7, 0
for g = 1, tonumber(ARGV[6]) do
  local group = { name = ARGV[at], place = place, keys = {} }
  local count = tonumber(ARGV[at + 1])
  for k = 1, count do group.keys[k] = ARGV[at + 1 + k] end
  groups[g] = group
  place, at = place + count, at + 2 + count
end
local turn = redis.call('HINCRBY', hash, 'turn', 1) - 1
redis.call('PEXPIRE', hash, 172800000)
local soonest
local wait = function(at) if not soonest or at < soonest then soonest = at end end
for i = 0, #groups - 1 do
  local group = groups[(turn + i) % #groups + 1]
  local cool = get('c:' .. group.name)
  if cool and now < cool then
    for k = 1, #group.keys do if group.keys[k] ~= '' then wait(cool) break end end
  else
    local first = math.floor(turn / #groups)
    for j = 0, #group.keys - 1 do
      local k = (first + j) % #group.keys
      local id = group.keys[k + 1]
      if id ~= '' then
        local used, reset = get('n:' .. id) or 0, get('r:' .. id)
        if not reset or now >= reset then used, reset = 0, tonumber(ARGV[4]) end
        if used >= limit then
          wait(reset)
        else
          redis.call('HSET', hash, 'n:' .. id, used + 1, 'r:' .. id, reset)
          if is_probe == 1 then redis.call('HSET', hash, 'p:' .. model, now + tonumber(ARGV[3])) end
          return { group.place + k, is_probe, used + 1 }
        end
      end
    end
  end
end
if soonest then return { -1, soonest - now } end
return { -3, 0 }
