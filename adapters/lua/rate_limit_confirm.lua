-- Times in microseconds of Redis's own clock.
-- KEYS sorted sets of one account; ARGV[1] lease id, ARGV[2] clock override in us or "" (tests only).
-- The call completed: from now on its slot counts from this moment. A lease never moves later.
local now
if ARGV[2] ~= '' then
  now = tonumber(ARGV[2])
else
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, 'XX', 'LT', string.format('%.0f', now), ARGV[1])
end
return 1
