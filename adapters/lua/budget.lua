-- The beginning of every script of the budgets. Moments are µs on this server's clock, money is µ$.
-- The life is a hash that says what this server's memory is worth:
--   run      the server process whose memory this is
--   id       a new one begins whenever memory may have been lost
--   from     before this moment reservations that were forgotten may count, so nothing is granted against a cap
--   horizon  no reservation lasts longer; the ledger's store has it on record
-- An account is a hash, the money of one subject in one period, whatever caps are on it now:
--   committed, reserved
--   life, read, reads   in which life committed was last read from the ledger, when, and how often it was
--   booked              all that was ever added to committed: tells what came while somebody was reading the ledger
--   opened              a name that no other opening of this account has
--   over                "1": something may count twice
--   first               no reservation runs out before then
--   @<operation>        a reservation: its end, its amount, and reads at that time
local IDLE_MS = 3600000

-- ARGV[1] is a test's clock, or "".
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function run_id()
  local facts = redis.call('INFO', 'server')
  local _, label_end = string.find(facts, 'run_id:', 1, true)
  return string.sub(facts, label_end + 1, label_end + 40)
end

local function lease(text)
  local ends, amount, reads = string.match(text, '^(%d+) (%d+) (%d+)$')
  return tonumber(ends), tonumber(amount), tonumber(reads)
end

-- Drops the reservations of an account that have run out by a moment. Returns the sum and the first end of the others.
local function drop(key, moment)
  local reserved, first = 0, math.huge
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    if string.byte(fields[i]) == 64 then
      local ends, amount = lease(fields[i + 1])
      if ends <= moment then
        redis.call('HDEL', key, fields[i])
      else
        reserved, first = reserved + amount, math.min(first, ends)
      end
    end
  end
  return reserved, first
end

local function lease_text(ends, amount, reads)
  return string.format('%.0f %.0f %.0f', ends, amount, reads)
end
