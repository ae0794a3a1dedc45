-- The call completed: its slot counts from now + ARGV[3] µs. A log that does not know the lease stays as it is: it was
-- restored from the message store and counts to the end of the lease, or will be.
-- KEYS: logs. ARGV: clock; lease id; how long the message may still take to arrive.
for _, log in ipairs(KEYS) do
  redis.call('ZADD', log, 'XX', now + tonumber(ARGV[3]), ARGV[2])
end
return 1
