-- Restores the subjects that were in doubt when the claim was made. Nothing was granted on them since then, so what the
-- claimant has read from the message store meanwhile is complete; if the claim is void, it may not be.
-- KEYS: the logs of these subjects, their index, other logs to restore, the hold.
-- ARGV: clock; id of the claim; plan; JSON: for each log to restore its number in KEYS, name, kind ("span:<kind>") and
--       grants: lease id and score of each, in one list; until when the platform asked to wait (0: it did not), and why.
-- Returns the number of grants restored, or -1 when this changed nothing.
local _, _, subjects = read_plan(ARGV[3])
local index = subjects[1].index
local run = run_member()
-- A hold is true whatever has happened since it was read.
local held_until = tonumber(ARGV[5])
if held_until > now then
  hold_until(KEYS[#KEYS], held_until, ARGV[6])
end
if not redis.call('ZSCORE', index, claim_member(run, ARGV[2])) then
  return -1
end

local kinds, evicted = {}, {}
local longest = 0
for number, why in ipairs(doubts(subjects, run)) do
  local subject = subjects[number]
  if why == 'unknown' then
    kinds[subject.mark] = subject.span
  elseif why == 'evicted' then
    evicted[subject.name] = subject.span
    redis.call('ZREM', index, subject.name)
    redis.call('ZADD', index, -subject.span, subject.mark)
  end
  longest = math.max(longest, subject.span)
end
if not redis.call('ZSCORE', index, run) then
  redis.call('DEL', index)
end

local restored = 0
for _, source in ipairs(cjson.decode(ARGV[4])) do
  local log, grants = KEYS[source.number], source.grants
  local span = kinds[source.kind] or evicted[source.name]
  if span then
    local known = redis.call('EXISTS', log) == 1
    for i = 1, #grants, 2 do
      -- A grant that is still in memory is known more exactly than from the store.
      if not (known and redis.call('ZSCORE', log, grants[i])) then
        redis.call('ZADD', log, grants[i + 1], '~' .. grants[i])
        restored = restored + 1
      end
    end
    local exists_until = promise({log = log, index = index, name = source.name}, score(log, -1) + span)
    longest = math.max(longest, exists_until - now)
  end
end

for mark, span in pairs(kinds) do
  redis.call('ZADD', index, -span, mark)
end
redis.call('ZREMRANGEBYSCORE', index, 0, 0)
redis.call('ZADD', index, '+inf', run)
redis.call('PEXPIRE', index, math.max(redis.call('PTTL', index), ttl_ms(now + longest)))
return restored
