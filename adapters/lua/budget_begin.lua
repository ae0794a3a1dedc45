-- A life begins: reservations that were made before it, and forgotten, may count until ARGV[3].
-- KEYS[1]: the life. ARGV: clock; id of the life; the horizon on record, read after the life was named.
local life = redis.call('HMGET', KEYS[1], 'run', 'id')
if life[1] == run_id() and life[2] == ARGV[2] then
  redis.call('HSETNX', KEYS[1], 'from', math.max(now, tonumber(ARGV[3])))
end
return 1
