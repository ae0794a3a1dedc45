-- Takes over what the ledger says, which was read after the reservation script had asked for it. What was committed
-- since then may be missing from it and is added again, though it may be counted already: then the account is doubtful.
-- Reservations that had run out by then are dropped: what they were spent on is in the ledger.
-- KEYS: the life, the account. ARGV: clock; life; moment of the question; opened; booked; the ledger's sum.
-- Returns 1, or 0 when memory was lost meanwhile and the ledger has to be read again.
local life = redis.call('HMGET', KEYS[1], 'run', 'id')
local account = redis.call('HMGET', KEYS[2], 'opened', 'booked', 'reads')
if life[1] ~= run_id() or life[2] ~= ARGV[2] or account[1] ~= ARGV[4] then
  return 0
end
local asked = tonumber(ARGV[3])
local since = tonumber(account[2] or 0) - tonumber(ARGV[5])
local reserved, first = drop(KEYS[2], asked)
redis.call('HSET', KEYS[2],
  'committed', tonumber(ARGV[6]) + since,
  'reserved', reserved,
  'life', life[2],
  'read', asked,
  'reads', tonumber(account[3] or 0) + 1,
  'over', since > 0 and '1' or '0')
if first < math.huge then
  redis.call('HSET', KEYS[2], 'first', first)
else
  redis.call('HDEL', KEYS[2], 'first')
end
return 1
