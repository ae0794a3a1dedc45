-- Remembers fingerprints of a campaign's texts, at most so many, and tells all that are known.
-- KEYS: hash of the campaign. ARGV: most; seconds to keep it; message id, fingerprint, …
local most = tonumber(ARGV[1])
for i = 3, #ARGV, 2 do
  if redis.call('HLEN', KEYS[1]) < most or redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('HGETALL', KEYS[1])
