-- Holds the account until now + ARGV[2] µs for the reason ARGV[3]; a longer hold stays.
-- KEYS[1]: the hold. ARGV[1]: clock.
local held_until = now + tonumber(ARGV[2])
if held_until > hold(KEYS[1]) then
  redis.call('SET', KEYS[1], string.format('%.0f %s', held_until, ARGV[3]), 'PX', ttl_ms(held_until))
end
return 1
