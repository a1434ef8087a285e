-- Mirrors `CompareAndSwap::load`: returns the value of a key, the server's time in seconds and microseconds,
-- and the milliseconds until the key expires. A value that is no string counts as an empty string, which is
-- no state. KEYS: the key. ARGV: the time in microseconds ('' for the server's).
local time = ARGV[1] == '' and redis.call('TIME') or {0, ARGV[1]}
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then
    if not string.find(found.err, 'WRONGTYPE', 1, true) then
        return found
    end
    found = ''
end
return {found, time[1], time[2], redis.call('PTTL', KEYS[1])}
