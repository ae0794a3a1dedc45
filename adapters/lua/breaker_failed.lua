-- A call failed.
-- ARGV: clock; number of the probe, or 0; ticket, or "" for one that was made just now; failures that open the breaker;
--       window; ms for which it opens.
-- Returns 1 when this opened the breaker.
local state = read()
local probe, ticket, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if probe > 0 then
  if probe ~= state.probe then
    return 0
  end
else
  if state.open_until_ms > 0 or (ticket or state.opened) < state.opened then
    return 0
  end
  local moments = recent(state, tonumber(ARGV[5]))
  moments[#moments + 1] = string.format('%.0f', now)
  write('failures', table.concat(moments, ',', math.max(1, #moments - limit + 1)))
  if #moments < limit then
    return 0
  end
end
write('open_until_ms', now + tonumber(ARGV[6]), 'probe', 0, 'opened', state.opened + 1)
return 1
