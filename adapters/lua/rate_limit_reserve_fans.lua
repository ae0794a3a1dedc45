-- Grants each subject by itself, all under one lease: those of which every window has room.
-- KEYS: one log a subject, then their index. ARGV: clock; lease id; lease µs; plan.
-- Returns {2, now, subjects} when the memory of these subjects has to be rebuilt first, else
--   {1, now, end of the lease, {number, first moment that can succeed (-1: never)} for each subject that is denied ...}.
local id = ARGV[2]
local plan, first_window, subjects = read_plan(ARGV[4])
local in_doubt = claim_rebuild(subjects, id)
if in_doubt then
  return {2, now, in_doubt}
end

local free_at = {}
for i = first_window, #plan, 3 do
  local _, moment = fill(subjects[plan[i]], plan[i + 1], plan[i + 2])
  free_at[plan[i]] = math.max(free_at[plan[i]] or 0, moment)
end

local expires = now + tonumber(ARGV[3])
local answer = {1, now, expires}
for number, subject in ipairs(subjects) do
  if free_at[number] <= now then
    enter(subject, id, expires)
  else
    -- A client that lost the first answer asks again under the same id: what it was granted, it has.
    local taken = redis.call('ZSCORE', subject.log, id)
    if taken then
      answer[3] = math.min(answer[3], tonumber(taken))
    else
      answer[#answer + 1] = {number, free_at[number] < math.huge and free_at[number] or -1}
    end
  end
end
return answer
