-- Mirrors `redis/lock.rs`. One string for each name: the owner (16 bytes, all 0 if nobody holds the name),
-- the fencing token granted last, and the end of the grant, in microseconds of the server's clock.
--
-- The key lives an hour longer than the grant, so that tokens grow. After that the clock ensures it: a token
-- is at least the time.
--
-- KEYS: the name. ARGV: the verb ('acquire', 'renew', 'raise' or 'release'), the owner, the time to live in
-- ms, and the least token that 'raise' leaves behind.
--
-- Returns the token, or 0 if another owner holds the name ('acquire') or this owner does not (the other
-- verbs).
local NOBODY, HOUR = string.rep('\0', 16), 3600000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local found = redis.call('GET', KEYS[1])
local owner, token, ends = NOBODY, 0, 0
if found and #found == 32 then
    owner, token, ends = string.sub(found, 1, 16), struct.unpack('<I8I8', found, 17)
end

local verb, asking, live = ARGV[1], ARGV[2], tonumber(ARGV[3])
local held = owner ~= NOBODY and now < ends
if verb == 'acquire' then
    if held then return 0 end
    -- token = max(now, token + 1): larger than all before, also after a clock stepped back or data was lost.
    owner, token, ends = asking, math.max(now, token + 1), now + live * 1000
else
    if not held or owner ~= asking then return 0 end
    if verb == 'renew' then
        ends = now + live * 1000
    elseif verb == 'raise' then
        token = math.max(token, tonumber(ARGV[4]))
    else
        owner = NOBODY
    end
end
local left = math.max(math.ceil((ends - now) / 1000), 0)
redis.call('SET', KEYS[1], owner .. struct.pack('<I8I8', token, ends), 'PX', string.format('%.0f', left + HOUR))
return token
