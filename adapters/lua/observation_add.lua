-- Adds counts of requests to their minutes, each batch of a writer once.
-- KEYS: minutes of the flag (sorted set), those that have changed since they were kept (hash), the writer's last batch;
-- then for each minute of an arm its hash.
-- ARGV: number of the batch, what makes a new epoch's name unique, ms for which all of it stays here; then for each hash:
-- its member in the two indexes, its minute, when its newest request was made (ms), number of pairs, field, count, …
-- A hash holds counts as <epoch>:<field>, and the epoch that counts now. A server process never adds to an epoch that
-- another one began: that one may have come back with less than it had counted.
local function process()
  if not run_id then
    local facts = redis.call('INFO', 'server')
    local _, label_end = string.find(facts, 'run_id:', 1, true)
    run_id = string.sub(facts, label_end + 1, label_end + 40)
  end
  return string.sub(run_id, 1, 8)
end

if tonumber(redis.call('GET', KEYS[3]) or '0') >= tonumber(ARGV[1]) then
  return 0
end
local ttl = ARGV[3]
local place = 4
for number = 4, #KEYS do
  local hash, member, minute, newest, pairs_left = KEYS[number], unpack(ARGV, place, place + 3)
  place = place + 4
  local epoch = redis.call('HGET', hash, 'epoch')
  if not epoch or string.sub(epoch, 1, 8) ~= process() then
    epoch = process() .. '-' .. ARGV[2]
    redis.call('HSET', hash, 'epoch', epoch)
  end
  for _ = 1, pairs_left do
    -- A sum that would leave 64 bits stays as it is, rather than leave half of a batch behind.
    redis.pcall('HINCRBY', hash, epoch .. ':' .. ARGV[place], ARGV[place + 1])
    place = place + 2
  end
  local newest_field = epoch .. ':newest'
  if tonumber(newest) > tonumber(redis.call('HGET', hash, newest_field) or '0') then
    redis.call('HSET', hash, newest_field, newest)
  end
  redis.call('PEXPIRE', hash, ttl)
  redis.call('ZADD', KEYS[1], minute, member)
  redis.call('HINCRBY', KEYS[2], member, 1)
end
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('PEXPIRE', KEYS[2], ttl)
redis.call('SET', KEYS[3], ARGV[1], 'PX', ttl)
-- What has expired need not be asked for.
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', last[2] - 2 * ttl / 60000)
return 1
