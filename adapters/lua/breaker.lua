-- The beginning of every script of the circuit breaker: domain/breaker.py in Lua, on this server's clock (ms).
-- KEYS[1] is a hash: the fields of BreakerState under their names, failures as "moment,moment". ARGV[1] is a test's
-- clock, or "".
local KEPT_MS = 30 * 24 * 3600 * 1000

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local NUMBERS = {'open_until_ms', 'probe', 'probe_until_ms', 'probes', 'opened', 'closed', 'rejected'}

local function read()
  local values = redis.call('HMGET', KEYS[1], 'failures', unpack(NUMBERS))
  local state = {failures = values[1] or ''}
  for i, name in ipairs(NUMBERS) do
    state[name] = tonumber(values[i + 1] or 0)
  end
  return state
end

local function write(...)
  redis.call('HSET', KEYS[1], ...)
  redis.call('PEXPIRE', KEYS[1], KEPT_MS)
end

local function status(state)
  if state.open_until_ms == 0 then
    return 'closed'
  end
  return now < state.open_until_ms and 'open' or 'half_open'
end

-- The failures that are still within the window, oldest first.
local function recent(state, window)
  local moments = {}
  for moment in string.gmatch(state.failures, '%d+') do
    if now - tonumber(moment) < window then
      moments[#moments + 1] = moment
    end
  end
  return moments
end
