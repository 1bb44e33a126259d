-- Takes one from each of some budgets, or from none of them if one is used up.
--
-- KEYS   one sorted set per budget: what was taken within its window, by time in milliseconds
-- ARGV   the time in milliseconds, or "" for the time of this server; a name for what is taken; then for each budget
--        its quota and its window in milliseconds
-- Gives for each budget how many milliseconds it will be until one is free; 0: one is.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local waits, free = {}, true
for i, key in ipairs(KEYS) do
  local quota, window = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  local taken = redis.call('ZCARD', key)
  waits[i] = 0
  if taken >= quota then
    local first = redis.call('ZRANGE', key, taken - quota, taken - quota, 'WITHSCORES')
    waits[i] = math.max(1, first[2] + window - now)
    free = false
  end
end
if free then
  for i, key in ipairs(KEYS) do
    redis.call('ZADD', key, now, ARGV[2])
    redis.call('PEXPIRE', key, ARGV[2 * i + 2])
  end
end
return waits
