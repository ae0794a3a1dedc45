-- Grants every window or none.
-- KEYS: one log a subject, then their indexes, then perhaps the hold.
-- ARGV: clock; lease id; lease µs, or "" to ask without taking; plan.
-- Returns {2, now, subjects} when the memory of these subjects has to be rebuilt first, else
--   {1, now, end of the lease, 0, free places of each window before this grant} or
--   {0, now, first moment that can succeed (-1: never), window that binds (0: the hold), free places of each window}.
local id, lease = ARGV[2], tonumber(ARGV[3])
local plan, first_window, subjects = read_plan(ARGV[4])
local in_doubt = claim_rebuild(subjects, id)
if in_doubt then
  return {2, now, in_doubt}
end

local answer = {1, now, 0, 0}
local retry = now
if plan[1] > 0 then
  local held_until = hold(KEYS[plan[1]])
  if held_until > now then
    retry, answer[1] = held_until, 0
  end
end
local window = 0
for i = first_window, #plan, 3 do
  window = window + 1
  local used, moment = fill(subjects[plan[i]], plan[i + 1], plan[i + 2])
  answer[4 + window] = plan[i + 1] - used
  if moment > retry then
    retry, answer[1], answer[4] = moment, 0, window
  end
end

if answer[1] == 0 then
  -- A client that lost the first answer asks again under the same id: it has its lease already.
  local taken = lease and subjects[1] and redis.call('ZSCORE', subjects[1].log, id)
  if taken then
    answer[1], answer[3], answer[4] = 1, tonumber(taken), 0
  else
    answer[3] = retry < math.huge and retry or -1
  end
  return answer
end
if not lease then
  return answer
end

local expires = now + lease
answer[3] = expires
local said = written(expires)
for number = 1, #subjects do
  enter(subjects[number], id, expires, said)
end
return answer
