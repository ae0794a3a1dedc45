-- Takes minutes off the list of those to keep, unless they have changed again since it was read.
-- KEYS: minutes that have changed (hash). ARGV: member, its number of changes as it was read, …
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 0
