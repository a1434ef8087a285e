-- Mirrors `CompareAndSwap::swap`: replaces the value of a key if it is still the loaded one. A value that is
-- no string counts as an empty string.
--
-- KEYS: the key. ARGV: the loaded value ('' if there was none), the new value ('' to remove the key), its
-- time to live in ms, and the time in microseconds ('' for the server's).
--
-- Returns an empty array if it replaced the value, else the same as `load.lua`.
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then
    if not string.find(found.err, 'WRONGTYPE', 1, true) then
        return found
    end
    found = ''
end
if (found or '') ~= ARGV[1] then
    local time = ARGV[4] == '' and redis.call('TIME') or {0, ARGV[4]}
    return {found, time[1], time[2], redis.call('PTTL', KEYS[1])}
end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return {}
