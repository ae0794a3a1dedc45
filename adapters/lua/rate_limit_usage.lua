-- How full windows are. KEYS and ARGV as of the reservation, but for ARGV[3]: the numbers of the subjects whose grants
-- are to be told ("1,2").
-- Returns {2, now, subjects} when the memory of these subjects has to be rebuilt first, else
--   {1, now, held until, reason, {used, first moment that admits one more (-1: never, 0: now)} for each window ...,
--    {moments that count} for each subject in ARGV[3] ...}.
local plan, first_window, subjects = read_plan(ARGV[4])
local in_doubt = claim_rebuild(subjects, ARGV[2])
if in_doubt then
  return {2, now, in_doubt}
end

local answer = {1, now, 0, ''}
if plan[1] > 0 then
  answer[3], answer[4] = hold(KEYS[plan[1]])
end
for i = first_window, #plan, 3 do
  local used, moment = fill(subjects[plan[i]], plan[i + 1], plan[i + 2])
  answer[#answer + 1] = {used, moment < math.huge and moment or -1}
end
for number in string.gmatch(ARGV[3], '%d+') do
  local subject = subjects[tonumber(number)]
  local grants = redis.call('ZRANGE', subject.log, now - subject.span + 1, '+inf', 'BYSCORE', 'WITHSCORES')
  local moments = {}
  for i = 2, #grants, 2 do
    moments[i / 2] = tonumber(grants[i])
  end
  answer[#answer + 1] = moments
end
return answer
