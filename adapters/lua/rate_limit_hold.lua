-- Holds the account; a longer hold stays.
-- KEYS[1]: the hold. ARGV: clock; until when, or "" for now + ARGV[3] µs; that span; the reason.
-- Returns {until when it is held, why}.
return {hold_until(KEYS[1], tonumber(ARGV[2]) or now + tonumber(ARGV[3]), ARGV[4])}
