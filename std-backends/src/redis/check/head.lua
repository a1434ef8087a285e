-- Decides a hit as core/src/strategy does, and books it for all limits and all keys, or for none. A script is
-- this file, the kinds of limits that it needs, and either `one.lua`, or `tail.lua` after `whole.lua` or
-- `pieces.lua`.
--
-- KEYS: the keys, all different.
--
-- ARGV: the time in microseconds ('' for the server's), the longest to keep a state in microseconds
-- (`max_ttl`), the least in milliseconds, then each limit: see `tail.lua`.
--
-- Returns the time in seconds and microseconds; 1 if it stored something, 0 if not, or -1 if the numbers are
-- too large for a double; and the value of each key before.
-- EXACT = 2^53 − 1: integers up to here are exact in a double. WORD = 2^32. LONGEST: a century in
-- milliseconds.
local EXACT, WORD, LONGEST = 9007199254740991, 4294967296, 3162240000000

local seconds, micros = 0, tonumber(ARGV[1])
if not micros then
    local time = redis.call('TIME')
    seconds, micros = tonumber(time[1]), tonumber(time[2])
end
local now = seconds * 1000000 + micros

-- The time to live of a state that is fresh at `fresh_at`, in milliseconds: min(⌈(fresh_at − now) / 1000⌉,
-- longest). `longest` is the limit's max_ttl unless given: a limit may follow one under which more was in
-- use.
local function milliseconds(fresh_at, longest)
    local rest = math.min(math.ceil(math.min(fresh_at - now, longest or tonumber(ARGV[2])) / 1000), LONGEST)
    return string.format('%.0f', math.max(rest, tonumber(ARGV[3]), 1))
end

-- Extends the time to live of a value that a limit has denied by, to what that limit needs. A limit with a
-- shorter period may have written the value. A second of slack saves calls that change little.
local function prolong(key, fresh_at)
    local rest, left = math.min(math.ceil((fresh_at - now) / 1000), LONGEST), redis.call('PTTL', key)
    if left >= 0 and left + 1000 < rest then redis.call('PEXPIRE', key, string.format('%.0f', rest)) end
end

-- ⌈num / den⌉ of whole numbers. The float quotient may be off by one, so `rest` corrects it.
local function divide_up(num, den)
    local quotient = math.floor(num / den)
    local rest = num - quotient * den
    if rest < 0 then return quotient end
    if rest >= den then return quotient + math.ceil(rest / den) end
    return rest > 0 and quotient + 1 or quotient
end

-- ⌊num / den⌋ of whole numbers, corrected likewise.
local function divide_down(num, den)
    local quotient = math.floor(num / den)
    return quotient * den > num and quotient - 1 or quotient
end

-- The window that holds a time: start = at − (at − anchor) mod period, and its end.
local function window(at, period, anchor)
    if at < anchor then return 0, anchor end
    local start = at - (at - anchor) % period
    return start, start + period
end

-- How each kind of limit reads a state, decides and writes it. `decide` takes the limit, the state, the
-- present, and the limit of the same state that drains slowest. It returns the new state and when that is
-- fresh. If it denies, it returns nothing, or nothing and -1 if the numbers are too large. If the state
-- belongs to another limit, it also returns the converted state, to be stored even if nothing is booked, and
-- when that is fresh.
local kinds = {}
