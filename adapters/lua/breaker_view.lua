-- A breaker as operators see it.
-- ARGV: clock; window.
-- Returns {status, failures, ms for which it stays open or -1, opened, closed, rejected}.
local state = read()
local is = status(state)
local left = is == 'open' and state.open_until_ms - now or -1
return {is, #recent(state, tonumber(ARGV[2])), left, state.opened, state.closed, state.rejected}
