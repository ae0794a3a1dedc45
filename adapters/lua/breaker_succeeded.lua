-- A probe succeeded: the breaker closes, unless another probe decides by now.
-- ARGV: clock; number of the probe.
-- Returns 1 when this closed the breaker.
local state = read()
if tonumber(ARGV[2]) ~= state.probe then
  return 0
end
write('failures', '', 'open_until_ms', 0, 'probe', 0, 'closed', state.closed + 1)
return 1
