-- Which leases count in all of their logs, have done so without a break since they were granted, and have not run out.
-- A log that its index does not name would not be missed if it were evicted, so what it holds admits nothing.
-- KEYS: logs and indexes. ARGV: clock; plan.
-- Returns 1 or 0 for each lease.
local run = run_member()
local answer = {}
for number, lease in ipairs(cjson.decode(ARGV[2])) do
  answer[number] = 1
  for _, subject in ipairs(lease[2]) do
    local ends = redis.call('ZSCORE', KEYS[subject[2]], lease[1])
    local marks = redis.call('ZMSCORE', KEYS[subject[3]], run, subject[1])
    if not ends or tonumber(ends) <= now or not marks[1] or not marks[2] then
      answer[number] = 0
    end
  end
end
return answer
