-- Puts back what was taken from some budgets.
--
-- KEYS   the budgets
-- ARGV   the name of what was taken
-- Gives for each budget whether it was there.
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = redis.call('ZREM', key, ARGV[1])
end
return found
