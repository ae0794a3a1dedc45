-- What is set aside in each account now.
-- KEYS: the accounts. ARGV[1]: clock.
local answer = {}
for number, key in ipairs(KEYS) do
  local sum = 0
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    if string.byte(fields[i]) == 64 then
      local ends, amount = lease(fields[i + 1])
      sum = sum + (ends > now and amount or 0)
    end
  end
  answer[number] = sum
end
return answer
