-- Decides on a hit as core/src/strategy does, and books it for all of the limits that it is made of, and all
-- keys, or for none. What the client sends is this file, the kinds of limits that it needs, and either
-- `one.lua`, or `tail.lua` after `whole.lua` or `pieces.lua`.
-- KEYS: the keys; no two are one.
-- ARGV: the time in microseconds ('' for the server's), the longest to keep in microseconds, the least to
-- keep in milliseconds, then each limit: see `tail.lua`.
-- Answers the time in seconds and microseconds; 1 if it stored something, 0 if it did not, or -1 if the
-- numbers are too large for it; and what was stored at each key before.
local EXACT, WORD, LONGEST = 9007199254740991, 4294967296, 3162240000000

local seconds, micros = 0, tonumber(ARGV[1])
if not micros then
    local time = redis.call('TIME')
    seconds, micros = tonumber(time[1]), tonumber(time[2])
end
local now = seconds * 1000000 + micros

-- How long to keep what is fresh at a time: no longer than a state of this limit lasts, unless `longest` is
-- another time. More than the limit has at once may be in use of one that it follows.
local function milliseconds(fresh_at, longest)
    local rest = math.min(math.ceil(math.min(fresh_at - now, longest or tonumber(ARGV[2])) / 1000), LONGEST)
    return string.format('%.0f', math.max(rest, tonumber(ARGV[3]), 1))
end

-- Keeps what is stored at a key for as long as it is in use under the limit that has denied. Another limit,
-- with a shorter period, may have been in force when it was written.
local function prolong(key, fresh_at)
    local rest, left = math.min(math.ceil((fresh_at - now) / 1000), LONGEST), redis.call('PTTL', key)
    if left >= 0 and left + 1000 < rest then redis.call('PEXPIRE', key, string.format('%.0f', rest)) end
end

-- The quotient of whole numbers, rounded up.
local function divide_up(num, den)
    local quotient = math.floor(num / den)
    local rest = num - quotient * den
    if rest < 0 then return quotient end
    if rest >= den then return quotient + math.ceil(rest / den) end
    return rest > 0 and quotient + 1 or quotient
end

-- The quotient of whole numbers, rounded down.
local function divide_down(num, den)
    local quotient = math.floor(num / den)
    return quotient * den > num and quotient - 1 or quotient
end

-- The window that holds a time: its start and its end.
local function window(at, period, anchor)
    if at < anchor then return 0, anchor end
    local start = at - (at - anchor) % period
    return start, start + period
end

-- How each kind of limit reads a state, decides on it and writes it. `decide` is given the limit, the state,
-- the present, and the limit of the same state that drains slowest; it answers the state that is left and
-- when that is fresh, or nothing if it denies, or nothing and -1 if the numbers are too large; then, if the
-- state of another limit is ended by it, the state that is to be kept though nothing is booked, and when that
-- is fresh.
local kinds = {}
