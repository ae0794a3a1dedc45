-- A reservation ends: its money is committed, or given back.
-- KEYS: the mark of operations that are committed, the accounts. ARGV: clock; operation; amount, or "" to give back.
local DONE_MS = 3600000

local amount = tonumber(ARGV[3])
if amount and not redis.call('SET', KEYS[1], '1', 'NX', 'PX', DONE_MS) then
  amount = nil
end
for number = 2, #KEYS do
  local key = KEYS[number]
  local told = redis.call('HMGET', key, 'committed', 'reserved', 'reads', 'booked', 'opened', '@' .. ARGV[2])
  local certain = false
  if told[6] then
    local _, held, reads = lease(told[6])
    certain = reads == tonumber(told[3] or 0)
    redis.call('HDEL', key, '@' .. ARGV[2])
    redis.call('HSET', key, 'reserved', math.max(0, tonumber(told[2] or 0) - held))
  end
  -- An account that nobody has opened is read from the ledger when somebody needs it, and the ledger has the entry.
  if amount and (told[1] or told[2] or told[5]) then
    redis.call('HSET', key, 'committed', tonumber(told[1] or 0) + amount, 'booked', tonumber(told[4] or 0) + amount)
    if not certain then
      -- The ledger was read since this was set aside, perhaps with its entry.
      redis.call('HSET', key, 'over', '1')
    end
  end
end
return 1
