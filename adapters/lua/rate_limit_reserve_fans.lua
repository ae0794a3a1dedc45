-- Grants each subject by itself, all under one lease: those of which every window has room.
-- The id of the lease begins with the name of the call and "/". What earlier attempts at the same call have taken stays,
-- and counts for everybody else, but not against the call: it reaches a fan once.
-- KEYS: one log a subject, then their index. ARGV: clock; lease id; lease µs; plan.
-- Returns {2, now, subjects} when the memory of these subjects has to be rebuilt first, else
--   {1, now, end of the lease, {number, first moment that can succeed (-1: never)} for each subject that is denied ...}.
local id = ARGV[2]
local call = string.match(id, '^[^/]*/')
local plan, first_window, subjects = read_plan(ARGV[4])
local in_doubt = claim_rebuild(subjects, id)
if in_doubt then
  return {2, now, in_doubt}
end

local function is_own(member)
  return string.sub(member, 1, #call) == call or string.sub(member, 2, #call + 1) == call
end

-- The first moment at which a window admits one more beside what others hold of it.
local function free_beside_others(subject, limit, span)
  local _, moment = fill(subject, limit, span)
  if moment == 0 or limit == 0 then
    return moment
  end
  local grants = redis.call('ZRANGE', subject.log, '+inf', now - span + 1, 'BYSCORE', 'REV', 'WITHSCORES')
  local others = 0
  for i = 1, #grants, 2 do
    if not is_own(grants[i]) then
      others = others + 1
      if others == limit then
        return tonumber(grants[i + 1]) + span
      end
    end
  end
  return 0
end

local free_at = {}
for i = first_window, #plan, 3 do
  local moment = free_beside_others(subjects[plan[i]], plan[i + 1], plan[i + 2])
  free_at[plan[i]] = math.max(free_at[plan[i]] or 0, moment)
end

local expires = now + tonumber(ARGV[3])
local said = written(expires)
local answer = {1, now, expires}
for number, subject in ipairs(subjects) do
  if (free_at[number] or 0) <= now then
    enter(subject, id, expires, said)
  else
    answer[#answer + 1] = {number, free_at[number] < math.huge and free_at[number] or -1}
  end
end
return answer
