-- Sets money aside in every account or in none.
-- KEYS: the life, the mark of operations that are committed, the accounts.
-- ARGV: clock; operation; numbers packed as doubles: lease, amount, horizon on record, for how long a reading of the
--       ledger holds, 1 to deny even in doubt, then for each budget the number of its account in KEYS and its cap
--       (-1: none).
-- Returns {1} when the money is set aside,
--   {0, number of the budget that denies, what it has left},
--   {2, now, life, {number in KEYS, opened, booked} ...} when these accounts have to be read from the ledger first,
--   {3, life} when it has to be found out until when forgotten reservations may count,
--   {4, moment} when a horizon that is not before this moment has to go on record first, or
--   {5, µs} when nothing can be granted against a cap for so long.
local run = run_id()
local operation = ARGV[2]
local plan = {struct.unpack('<' .. string.rep('d', #ARGV[3] / 8), ARGV[3])}
local last = #plan - 1
local ends, amount, recorded, holds, final = now + plan[1], plan[2], plan[3], plan[4], plan[5] == 1

local life = redis.call('HMGET', KEYS[1], 'run', 'id', 'from', 'horizon')
if life[1] ~= run then
  life[2] = string.format('%s %.0f', operation, now)
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'run', run, 'id', life[2])
  life[3] = false
end
if not life[3] then
  return {3, life[2]}
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  return {1}
end
if tonumber(life[4] or 0) < ends then
  if recorded < ends then
    return {4, ends}
  end
  redis.call('HSET', KEYS[1], 'horizon', recorded)
end

local accounts = {}
for number = 3, #KEYS do
  local told = redis.call('HMGET', KEYS[number], 'committed', 'reserved', 'life', 'read', 'reads', 'booked', 'opened',
    'over', 'first', '@' .. operation)
  local account = {
    committed = tonumber(told[1] or 0),
    reserved = tonumber(told[2] or 0),
    known = told[3] == life[2] and now - tonumber(told[4]) < holds,
    reads = tonumber(told[5] or 0),
    booked = tonumber(told[6] or 0),
    opened = told[7],
    first = tonumber(told[9] or math.huge),
    amount = amount,
    needs = amount,
  }
  account.doubtful = not final and (told[8] == '1' or account.first <= now)
  if told[10] then
    -- It was asked for before, and counts until somebody reads the ledger again, even if it has run out.
    local ended, held, reads = lease(told[10])
    account.amount, account.reads, account.needs, account.ended = held, reads, 0, ended <= now
  end
  accounts[number] = account
end

local unread = {}
for position = 6, last, 2 do
  local number, cap = plan[position], plan[position + 1]
  local account = accounts[number]
  if cap >= 0 and now < tonumber(life[3]) then
    return {5, tonumber(life[3]) - now}
  end
  if cap >= 0 and account.needs > 0 then
    local left = cap - account.committed - account.reserved
    if not account.known then
      unread[number] = account
    elseif left < account.needs then
      if not account.doubtful then
        return {0, (position - 4) / 2, math.max(0, left)}
      end
      unread[number] = account
    end
  end
end
if next(unread) then
  local answer = {2, now, life[2]}
  for number, account in pairs(unread) do
    if not account.opened then
      account.opened = string.format('%s %.0f', operation, now)
      redis.call('HSET', KEYS[number], 'opened', account.opened)
      redis.call('PEXPIRE', KEYS[number], IDLE_MS)
    end
    answer[#answer + 1] = {number, account.opened, account.booked}
  end
  return answer
end

-- Reservations that have run out are dropped when the ledger is read, which nobody does without a cap. There they are
-- dropped now, and the account forgets what it was read to have: with its next cap it is read again.
local capped = {}
for position = 6, last, 2 do
  capped[plan[position]] = capped[plan[position]] or plan[position + 1] >= 0
end
for number, account in pairs(accounts) do
  if not capped[number] and account.first <= now then
    account.reserved, account.first = drop(KEYS[number], now)
    account.needs = account.ended and account.amount or account.needs
    redis.call('HDEL', KEYS[number], 'life', 'opened')
  end
end

for number, account in pairs(accounts) do
  redis.call('HSET', KEYS[number],
    'reserved', account.reserved + account.needs,
    'first', math.min(account.first, ends),
    '@' .. operation, lease_text(ends, account.amount, account.reads))
  redis.call('PEXPIRE', KEYS[number], IDLE_MS)
end
return {1}
