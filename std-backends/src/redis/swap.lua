-- Mirrors `cas.rs`: stores bytes at a key if what is there is still what was loaded. What is no string
-- counts as an empty one.
-- KEYS: the key. ARGV: what was loaded ('' if nothing was), what to store ('' to remove it), its time to live in ms, the
-- time in microseconds ('' for the server's).
-- Answers nothing if it did, else what `load.lua` does.
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
