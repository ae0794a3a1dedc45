-- Times in microseconds of Redis's own clock.
-- KEYS sorted sets of one account; ARGV[1] lease id, ARGV[2] clock override in us or "" (tests only).
-- The call completed: its slot counts from this moment, whatever the lease had assumed.
local now
if ARGV[2] ~= '' then
  now = tonumber(ARGV[2])
else
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, string.format('%.0f', now), ARGV[1])
  if redis.call('PTTL', key) < 0 then
    -- The set had expired under a call that took too long; a day is the longest window.
    redis.call('PEXPIRE', key, 86400000)
  end
end
return 1
