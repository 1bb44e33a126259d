-- Whether a tool may be called. See providers/breakers.rs, which does the same without Redis; providers/note.lua notes what
-- came of it, under the same names of fields.
-- KEYS: the hash of breakers. ARGV: now in ms or '', name, lease of a probe in ms, mark of a probe, longest wait in ms that
-- is told while a probe runs. Answers with {1, whether it is a probe, how often the breaker opened}, or with {0, ms to wait}.
local hash, name = KEYS[1], ARGV[2]
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local get = function(field) return tonumber(redis.call('HGET', hash, field .. name) or '') end
local open = get('b:')
if not open then return { 1, 0, 0 } end
if now < open then return { 0, open - now } end
local probe = get('p:')
if probe and now < probe then return { 0, math.min(probe - now, tonumber(ARGV[5])) } end
local until_then = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('HSET', hash, 'p:' .. name, until_then, 'q:' .. name, ARGV[4])
redis.call('PEXPIRE', hash, 172800000)
return { 1, 1, get('o:') or 0 }
