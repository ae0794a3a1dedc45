-- Remembers fingerprints of a campaign's latest texts and tells all that were remembered by then; keeps so many.
-- KEYS: hash of the campaign; list of its message ids, oldest first. ARGV: most; seconds to keep them; message id,
-- fingerprint, …
for i = 3, #ARGV, 2 do
  if redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) == 1 then
    redis.call('RPUSH', KEYS[2], ARGV[i])
  end
end
local known = redis.call('HGETALL', KEYS[1])
for _ = 1, redis.call('LLEN', KEYS[2]) - tonumber(ARGV[1]) do
  redis.call('HDEL', KEYS[1], redis.call('LPOP', KEYS[2]))
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return known
