-- Times in microseconds of Redis's own clock; durations in ARGV in milliseconds.
-- KEYS[1] holds: the account's hold (expires by itself), KEYS[2..n] sorted sets, one a subject.
-- ARGV[1] lease id, or "" to ask without taking anything; ARGV[2] lease ms, ARGV[3] clock override in us or "" (tests only),
-- then for each window: index into KEYS, limit, window ms.
-- Grants every window or none. A member's score is the latest moment at which its message can still arrive.
-- Returns {granted, remaining, retry_after_ms, binding window from 1 (0: hold, -1: none)}.
local now
if ARGV[3] ~= '' then
  now = tonumber(ARGV[3])
else
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end

local function ceil_ms(us)
  return math.ceil(us / 1000)
end

local held = redis.call('PTTL', KEYS[1])
if held > 0 then
  return {0, 0, held, 0}
end

local lease = tonumber(ARGV[2]) * 1000
local longest = {}
local remaining = -1
local retry = -1
local binding = -1
local window = 0
for i = 4, #ARGV, 3 do
  window = window + 1
  local key = KEYS[tonumber(ARGV[i])]
  local limit = tonumber(ARGV[i + 1])
  local span = tonumber(ARGV[i + 2]) * 1000
  if span > (longest[key] or 0) then
    longest[key] = span
  end
  local used = redis.call('ZCOUNT', key, '(' .. string.format('%.0f', now - span), '+inf')
  local free = limit - used
  if free <= 0 then
    local wait
    if limit == 0 then
      wait = span
    else
      -- The window admits one more when only limit - 1 remain in it: when its limit-th latest member leaves.
      local edge = redis.call('ZRANGE', key, -limit, -limit, 'WITHSCORES')
      wait = tonumber(edge[2]) + span - now
    end
    if wait > retry then
      retry = wait
      binding = window
    end
    remaining = 0
  elseif remaining < 0 or free - 1 < remaining then
    remaining = free - 1
    if retry < 0 then
      binding = window
    end
  end
end

if retry >= 0 then
  return {0, 0, math.max(1, ceil_ms(retry)), binding}
end

if ARGV[1] == '' then
  return {1, remaining + 1, 0, binding}
end

for key, span in pairs(longest) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - span))
  redis.call('ZADD', key, string.format('%.0f', now + lease), ARGV[1])
  redis.call('PEXPIRE', key, ceil_ms(span + lease) + 1000)
end
return {1, math.max(remaining, 0), 0, binding}
