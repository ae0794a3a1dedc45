-- Whether a call may be made now.
-- ARGV: clock; ms after which a probe is given up; ms after which to ask again while one is on its way.
-- Returns {allowed, probe, status, ms to wait, ticket}.
local state = read()
local is = status(state)
if is == 'closed' then
  return {1, 0, is, 0, state.opened}
end

local wait
if is == 'open' then
  wait = state.open_until_ms - now
elseif state.probe > 0 and now < state.probe_until_ms then
  wait = math.min(state.probe_until_ms - now, tonumber(ARGV[3]))
else
  local number = state.probes + 1
  write('probe', number, 'probes', number, 'probe_until_ms', now + tonumber(ARGV[2]))
  return {1, 1, is, 0, number}
end
write('rejected', state.rejected + 1)
return {0, 0, is, wait, 0}
