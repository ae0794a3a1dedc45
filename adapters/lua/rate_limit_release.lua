-- Nothing was sent: the slot is free again.
-- KEYS: logs, then the index of each. ARGV: clock; lease id; then for each log its subject.
local count = #KEYS / 2
for i = 1, count do
  -- Only a log that became empty by this may be missing; one that was missing before was evicted.
  local removed = redis.call('ZREM', KEYS[i], ARGV[2], '~' .. ARGV[2])
  if removed > 0 and redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call('ZREM', KEYS[count + i], ARGV[2 + i])
  end
end
return 1
