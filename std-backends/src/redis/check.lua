-- Mirrors `decide` of core/src/strategy: fixed_window.rs, sliding_window.rs, quota_rollover.rs, meter.rs, and pair.rs and
-- all.rs, which charge all or none.
-- KEYS: the key.
-- ARGV: the time in microseconds ('' for the server's), the longest to keep in microseconds, the least to keep in
-- milliseconds, then for each limit: its kind, 'i' if its state is inline or else '', asked, booked, and the numbers of
-- its formula in the order they are declared there: 'w' for Window, 's' Sliding, 'q' Rollover, 'l' Level, 'u' Unlimited.
-- Answers what was stored, the time in seconds and microseconds, and 1 if it charged, 0 if it did not, or -1 if the
-- numbers are too large for it. What is stored and is no state of these limits counts as nothing.
local EXACT = 9007199254740991

local seconds, micros = 0, tonumber(ARGV[1])
if not micros then
    local time = redis.call('TIME')
    seconds, micros = tonumber(time[1]), tonumber(time[2])
end
local now = seconds * 1000000 + micros

local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then
    if not string.find(found.err, 'WRONGTYPE', 1, true) then
        return found
    end
    found = false
end

-- The quotient of whole numbers, rounded up.
local function divide_up(num, den)
    local quotient = math.floor(num / den)
    local rest = num - quotient * den
    if rest < 0 then return quotient end
    if rest >= den then return quotient + math.ceil(rest / den) end
    return rest > 0 and quotient + 1 or quotient
end

local kinds = {}

-- The window that holds a time: its start and its end.
local function window(at, period, anchor)
    if at < anchor then return 0, anchor end
    local start = at - (at - anchor) % period
    return start, start + period
end

-- fixed_window.rs: what was used counts if its window is still the present one.
kinds.w = {
    numbers = 3,
    length = 13,
    tag = 0x11,
    read = function(bytes, from)
        local at, used = struct.unpack('<I8I4', bytes, from + 1)
        if used == 0 and at ~= 0 then return nil end
        return {at = at, used = used}
    end,
    none = {at = 0, used = 0},
    decide = function(part, state)
        local period, anchor, limit = part[1], part[2], part[3]
        local at = math.max(now, state.at)
        local start, ends = window(at, period, anchor)
        local used = state.at >= start and state.used or 0
        if part.asked > 0 and used + part.asked > limit then return nil end
        if part.booked == 0 then return state, state.used == 0 and 0 or ends - now end
        return {at = at, used = used + part.booked}, ends - now
    end,
    write = function(state) return struct.pack('<I1I8I4', 0x11, state.at, state.used) end,
}

-- sliding_window.rs: the window before counts by how much of it has not slid out yet, rounded up.
kinds.s = {
    numbers = 2,
    length = 25,
    tag = 0x12,
    read = function(bytes, from)
        local at, period, previous, current = struct.unpack('<I8I8I4I4', bytes, from + 1)
        if previous == 0 and current == 0 then
            if at ~= 0 or period ~= 0 then return nil end
        elseif period == 0 or period > EXACT or (previous > 0 and at < period) then
            return nil
        end
        return {at = at, period = period, previous = previous, current = current}
    end,
    none = {at = 0, period = 0, previous = 0, current = 0},
    decide = function(part, state)
        local period, limit = part[1], part[2]
        local previous, current = state.previous, state.current
        if state.period ~= period and state.period ~= 0 then
            local left = state.period - state.at % state.period
            if previous * left > EXACT then return nil, -1 end
            previous, current = 0, math.min(current + divide_up(previous * left, state.period), 4294967295)
        end
        local at = math.max(now, state.at)
        local elapsed = state.at % period + at - state.at
        if elapsed >= 2 * period then
            elapsed, previous, current = at % period, 0, 0
        elseif elapsed >= period then
            elapsed, previous, current = elapsed - period, current, 0
        end
        local left = period - elapsed
        if previous * left > EXACT then return nil, -1 end
        local used = current + divide_up(previous * left, period)
        if part.asked > 0 and used + part.asked > limit then return nil end
        local booked = {at = at, period = period, previous = previous, current = current + part.booked}
        if part.booked == 0 then booked = state end
        local rest = at + left + period - now
        if part.booked == 0 and current == 0 then rest = previous == 0 and 0 or rest - period end
        return booked, rest
    end,
    write = function(state)
        return struct.pack('<I1I8I8I4I4', 0x12, state.at, state.period, state.previous, state.current)
    end,
}

-- quota_rollover.rs: what the window before left is had as well, in part.
kinds.q = {
    numbers = 5,
    length = 17,
    tag = 0x32,
    read = function(bytes, from)
        local at, used, before = struct.unpack('<I8I4I4', bytes, from + 1)
        if used == 0 and before == 0 and at ~= 0 then return nil end
        return {at = at, used = used, before = before}
    end,
    none = {at = 0, used = 0, before = 0},
    decide = function(part, state)
        local period, limit, num, den, most = part[1], part[2], part[3], part[4], part[5]
        local at = math.max(now, state.at)
        local start, ends = window(at, period, 0)
        local used, before = 0, 0
        if state.at >= start then
            used, before = state.used, state.before
        elseif start - state.at <= period then
            before = state.used
        end
        local unused = math.max(limit - before, 0) * num
        local rollover = divide_up(unused, den)
        if rollover * den > unused then rollover = rollover - 1 end
        if part.asked > 0 and used + part.asked > limit + math.min(rollover, most) then return nil end
        if part.booked == 0 then
            if used > 0 then return state, ends + period - now end
            return state, before > 0 and ends - now or 0
        end
        return {at = at, used = used + part.booked, before = before}, ends + period - now
    end,
    write = function(state) return struct.pack('<I1I8I4I4', 0x32, state.at, state.used, state.before) end,
}

-- meter.rs: the level drains until the present, and what it drains to decides.
kinds.l = {
    numbers = 3,
    length = 25,
    tag = 0x21,
    read = function(bytes, from)
        local at, used, unit = struct.unpack('<I8I8I8', bytes, from + 1)
        if (used == 0 or unit == 0) and (at ~= 0 or used ~= 0 or unit ~= 0) then return nil end
        return {at = at, used = used, unit = unit}
    end,
    none = {at = 0, used = 0, unit = 0},
    decide = function(part, state)
        local drain, unit, capacity = part[1], part[2], part[3]
        local used = state.used
        if used > 0 and state.unit ~= unit then used = divide_up(used, state.unit) * unit end
        if used > EXACT then return nil, -1 end
        local at = math.max(now, state.at)
        if drain > 0 and used > 0 then
            if at - state.at >= divide_up(used, drain) then
                used = 0
            else
                used = used - (at - state.at) * drain
            end
        end
        local asked = part.asked * unit
        if asked > 0 and (asked > capacity or used + asked > capacity) then return nil end
        if part.booked == 0 then
            if state.used == 0 then return state, 0 end
            return state, drain == 0 and EXACT or at + divide_up(used, drain) - now
        end
        used = used + part.booked * unit
        return {at = at, used = used, unit = unit}, drain == 0 and EXACT or at + divide_up(used, drain) - now
    end,
    write = function(state)
        return struct.pack('<I1I8I8I8', 0x21, state.at, state.used, state.unit)
    end,
}

-- Admits everything, and keeps what it finds.
kinds.u = {
    numbers = 0,
    none = {at = 0},
    decide = function(_, state) return state, 0 end,
}

-- The state at a place and where the next begins: nothing if it is none of this limit, which inline counts as the state
-- of a key never seen.
local function read(part, bytes, from)
    local kind = part.kind
    local first, ends = from, from + (kind.length or 0)
    if part.inline then
        if string.byte(bytes, from) ~= 0x7f or #bytes < from + 2 then return nil end
        first = from + 3
        ends = first + struct.unpack('<I2', bytes, from + 1)
    end
    if ends > #bytes + 1 then return nil end
    local state
    if kind.read and ends - first == kind.length and string.byte(bytes, first) == kind.tag then
        state = kind.read(bytes, first)
    end
    if part.inline then state = state or kind.none end
    return state, ends
end

-- What is stored of a state; inline, that of a key never seen is empty.
local function write(part, state)
    local bytes = part.kind.write(state)
    if part.inline then return struct.pack('<I1I2', 0x7f, #bytes) .. bytes end
    return bytes
end

local parts, at = {}, 4
while ARGV[at] do
    local part = {kind = kinds[ARGV[at]], inline = ARGV[at + 1] == 'i'}
    part.asked, part.booked = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    for number = 1, part.kind.numbers do part[number] = tonumber(ARGV[at + 3 + number]) end
    parts[#parts + 1] = part
    at = at + 4 + part.kind.numbers
end

-- All of the states, or none: half of them would be of another limit.
local states, raw, from = {}, {}, 1
for at, part in ipairs(parts) do
    local state, ends
    if found then state, ends = read(part, found, from) end
    if not state or (at == #parts and ends ~= #found + 1) then
        states, raw = {}, {}
        break
    end
    if state.at > EXACT then return {found, seconds, micros, -1} end
    states[at], raw[at], from = state, string.sub(found, from, ends - 1), ends
end

local bytes, keep, charged = {}, 0, false
for at, part in ipairs(parts) do
    local none = part.kind.none
    local state, rest = part.kind.decide(part, states[at] or none)
    if not state then return {found, seconds, micros, rest or 0} end
    if part.booked > 0 then
        bytes[at], charged = write(part, state), true
    else
        bytes[at] = raw[at] or (part.inline and '\127\0\0' or write(part, none))
    end
    keep = math.max(keep, rest)
end
if not charged then return {found, seconds, micros, 0} end
local rest = math.max(math.ceil(math.min(keep, tonumber(ARGV[2])) / 1000), tonumber(ARGV[3]), 1)
redis.call('SET', KEYS[1], table.concat(bytes), 'PX', string.format('%.0f', rest))
return {found, seconds, micros, 1}
