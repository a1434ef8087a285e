-- Mirrors `Swap::load`: what is stored at a key, the server's time, and the milliseconds for which it is kept yet. What is
-- no string counts as an empty one, which is no state.
-- KEYS: the key. ARGV: the time in microseconds ('' for the server's).
local time = ARGV[1] == '' and redis.call('TIME') or {0, ARGV[1]}
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then
    if not string.find(found.err, 'WRONGTYPE', 1, true) then
        return found
    end
    found = ''
end
return {found, time[1], time[2], redis.call('PTTL', KEYS[1])}
