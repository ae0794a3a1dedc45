-- The call completed: its slot counts from this moment. A log that does not know the lease stays as it is: it was
-- restored from the message store and counts to the end of the lease, or will be.
-- KEYS: logs. ARGV: clock; lease id.
for _, log in ipairs(KEYS) do
  redis.call('ZADD', log, 'XX', now, ARGV[2])
end
return 1
