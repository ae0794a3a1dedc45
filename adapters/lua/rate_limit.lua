-- The beginning of every script of the limiter. Moments and spans are µs on this server's clock.
-- A log is a sorted set of grants: member = lease id, score = the latest moment at which its message can arrive.
-- The index of a scope is a sorted set with three kinds of members:
--   run:<id> (+inf)          the server process whose memory this is; another process must rebuild
--   span:<kind> (-µs)        logs of this kind are complete for that long
--   <subject> (moment)       the log of this subject exists until then; if it does not, it was evicted
-- and the claims of those who are about to rebuild (0), each made on one server process. A claim is void when the index
-- is lost, when another process takes over, and when somebody has rebuilt something.
-- A grant that was restored from the message store has the member ~<lease id>: it counts, but admits nothing.
local EXPIRY_GRACE_MS = 60000
local PROMISE_US = 60000000

-- ARGV[1] is a test's clock, or "".
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function run_member()
  if run_id then
    return 'run:' .. run_id
  end
  local facts = redis.call('INFO', 'server')
  local _, label_end = string.find(facts, 'run_id:', 1, true)
  return 'run:' .. string.sub(facts, label_end + 1, label_end + 40)
end

local function claim_member(run, id)
  return 'rebuild:' .. id .. ':' .. run
end

local function ttl_ms(moment)
  return math.ceil((moment - now) / 1000) + EXPIRY_GRACE_MS
end

local function written(moment)
  return string.format('%.0f', moment)
end

-- What a call looks at, from numbers packed as doubles: number of the hold in KEYS or 0, number of subjects; for each
-- subject the number of its index in KEYS and the span for which it has to be complete; for each window the number of
-- its subject, limit, span. The log of subject i is KEYS[i].
-- Returns the numbers, the position of the first window in them, and the subjects.
local function read_plan(packed)
  local plan = {struct.unpack('<' .. string.rep('d', #packed / 8), packed)}
  -- The last value is where reading ended.
  plan[#plan] = nil
  local subjects = {}
  for number = 1, plan[2] do
    local log = KEYS[number]
    local name = string.match(log, '}:(.*)')
    subjects[number] = {
      log = log,
      index = KEYS[plan[2 * number + 1]],
      name = name,
      mark = string.find(name, '^recipient:') and 'span:recipient' or 'span:' .. name,
      span = plan[2 * number + 2],
    }
  end
  return plan, 3 + 2 * plan[2], subjects
end

-- Why the logs of subjects may lack grants: for each 'unknown' (its kind was not rebuilt), 'evicted', or false: it lacks
-- none. Notes of a subject how many grants it has (size), for how long they are kept (keep) and until when the log
-- exists. An index is asked once about neighbours.
local function doubts(subjects, run)
  local why, first = {}, 1
  while first <= #subjects do
    local index, last, members = subjects[first].index, first, {run}
    while subjects[last] and subjects[last].index == index do
      members[#members + 1] = subjects[last].mark
      members[#members + 1] = subjects[last].name
      last = last + 1
    end
    local told = redis.call('ZMSCORE', index, unpack(members))
    for number = first, last - 1 do
      local subject, position = subjects[number], 2 * (number - first + 1)
      local span, exists_until = told[position], told[position + 1]
      subject.size = redis.call('ZCARD', subject.log)
      why[number] = false
      if not told[1] or not span or -span < subject.span then
        why[number] = 'unknown'
      else
        subject.keep = -span
        subject.exists_until = tonumber(exists_until or 0)
        why[number] = subject.size == 0 and subject.exists_until > now and 'evicted'
      end
    end
    first = last
  end
  return why
end

-- The numbers of the subjects of one index that are in doubt, whose rebuilding is then announced under this id; nil:
-- none is.
local function claim_rebuild(subjects, id)
  local run = run_member()
  local index, numbers
  for number, why in ipairs(doubts(subjects, run)) do
    if why and (index or subjects[number].index) == subjects[number].index then
      index, numbers = subjects[number].index, numbers or {}
      numbers[#numbers + 1] = number
    end
  end
  if not index then
    return nil
  end
  redis.call('ZADD', index, 0, claim_member(run, id))
  if redis.call('PTTL', index) < 0 then
    redis.call('PEXPIRE', index, EXPIRY_GRACE_MS)
  end
  return numbers
end

-- Lets the log of a subject exist until a moment at least, rounded up so that not every grant has to, and says so in its
-- index. Returns the moment.
local function promise(subject, moment)
  local exists_until = math.ceil(moment / PROMISE_US) * PROMISE_US
  redis.call('PEXPIRE', subject.log, ttl_ms(exists_until))
  redis.call('ZADD', subject.index, exists_until, subject.name)
  redis.call('PEXPIRE', subject.index, ttl_ms(exists_until), 'GT')
  return exists_until
end

local function score(log, rank)
  return tonumber(redis.call('ZRANGE', log, rank, rank, 'WITHSCORES')[2])
end

-- How many grants a window (now - span, now] of a subject holds, those to come included, and, if that is its limit or
-- more, the first moment at which it admits one more (math.huge: never).
local function fill(subject, limit, span)
  local used = subject.size
  if used > 0 then
    used = redis.call('ZCOUNT', subject.log, now - span + 1, '+inf')
  end
  if used < limit then
    return used, 0
  end
  if limit == 0 then
    return used, math.huge
  end
  return used, score(subject.log, -limit) + span
end

-- Enters a grant in the log of a subject. A moment that is written several times is written out once: said.
local function enter(subject, id, expires, said)
  redis.call('ZADD', subject.log, said, id)
  -- One grant in sixteen tidies up, which bounds what is kept as well as if each did.
  if string.byte(id, -1) % 16 == 0 then
    redis.call('ZREMRANGEBYSCORE', subject.log, '-inf', now - subject.keep)
    redis.call('ZREMRANGEBYSCORE', subject.index, 1, now)
  end
  if expires + subject.keep > subject.exists_until then
    promise(subject, expires + subject.keep)
  end
end

-- Until when the platform asked to wait, and why; 0 when it did not.
local function hold(key)
  local value = redis.call('GET', key)
  if not value then
    return 0, ''
  end
  local moment, reason = string.match(value, '^(%d+) (.*)$')
  return tonumber(moment), reason
end

-- Holds the account until a moment; a longer hold stays. Returns until when it is held, and why.
local function hold_until(key, moment, reason)
  local held_until, held_for = hold(key)
  if moment <= held_until then
    return held_until, held_for
  end
  redis.call('SET', key, written(moment) .. ' ' .. reason, 'PX', ttl_ms(moment))
  return moment, reason
end
