-- Mirrors `decide` of core/src/strategy: fixed_window.rs, meter.rs, and pair.rs and all.rs, which charge all or none.
-- KEYS: the key.
-- ARGV: the time in microseconds ('' for the server's), the longest to keep in microseconds, the least to keep in
-- milliseconds, then seven for each limit: 'w', asked, booked, period, anchor, limit for a window; 'l', asked, booked,
-- drain, unit, capacity for a level; 'u' and five more for one that does not limit; and last 'i' if its state is inline.
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

-- fixed_window.rs: what was used counts if its window is still the present one.
kinds.w = {
    length = 13,
    tag = 0x11,
    read = function(bytes, from)
        local at, used = struct.unpack('<I8I4', bytes, from + 1)
        if used == 0 and at ~= 0 then return nil end
        return {at = at, used = used}
    end,
    none = {at = 0, used = 0},
    decide = function(part, state)
        local period, anchor, limit = part[4], part[5], part[6]
        local at = math.max(now, state.at)
        local start, ends = 0, anchor
        if at >= anchor then
            start = at - (at - anchor) % period
            ends = start + period
        end
        local used = state.at >= start and state.used or 0
        if part[2] > 0 and used + part[2] > limit then return nil end
        if part[3] == 0 then return state, state.used == 0 and 0 or ends - now end
        return {at = at, used = used + part[3]}, ends - now
    end,
    write = function(state)
        if state.used == 0 then return struct.pack('<I1I8I4', 0x11, 0, 0) end
        return struct.pack('<I1I8I4', 0x11, state.at, state.used)
    end,
}

-- meter.rs: the level drains until the present, and what it drains to decides.
kinds.l = {
    length = 25,
    tag = 0x21,
    read = function(bytes, from)
        local at, used, unit = struct.unpack('<I8I8I8', bytes, from + 1)
        if (used == 0 or unit == 0) and (at ~= 0 or used ~= 0 or unit ~= 0) then return nil end
        return {at = at, used = used, unit = unit}
    end,
    none = {at = 0, used = 0, unit = 0},
    decide = function(part, state)
        local drain, unit, capacity = part[4], part[5], part[6]
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
        local asked = part[2] * unit
        if asked > 0 and (asked > capacity or used + asked > capacity) then return nil end
        if part[3] == 0 then
            if state.used == 0 then return state, 0 end
            return state, drain == 0 and EXACT or at + divide_up(used, drain) - now
        end
        used = used + part[3] * unit
        return {at = at, used = used, unit = unit}, drain == 0 and EXACT or at + divide_up(used, drain) - now
    end,
    write = function(state)
        return struct.pack('<I1I8I8I8', 0x21, state.at, state.used, state.unit)
    end,
}

-- Admits everything, and keeps what it finds.
kinds.u = {
    none = {at = 0},
    decide = function(_, state) return state, 0 end,
}

-- The state at a place and where the next begins: nothing if it is none of this limit, which inline counts as the state
-- of a key never seen.
local function read(part, bytes, from)
    local kind = kinds[part[1]]
    local first, ends = from, from + (kind.length or 0)
    if part[7] == 'i' then
        if string.byte(bytes, from) ~= 0x7f or #bytes < from + 2 then return nil end
        first = from + 3
        ends = first + struct.unpack('<I2', bytes, from + 1)
    end
    if ends > #bytes + 1 then return nil end
    local state
    if kind.read and ends - first == kind.length and string.byte(bytes, first) == kind.tag then
        state = kind.read(bytes, first)
    end
    if part[7] == 'i' then state = state or kind.none end
    return state, ends
end

-- What is stored of a state; inline, that of a key never seen is empty.
local function write(part, state)
    local bytes = kinds[part[1]].write(state)
    if part[7] == 'i' then return struct.pack('<I1I2', 0x7f, #bytes) .. bytes end
    return bytes
end

local parts = {}
for first = 4, #ARGV, 7 do
    local part = {ARGV[first]}
    for at = 1, 5 do part[at + 1] = tonumber(ARGV[first + at]) end
    part[7] = ARGV[first + 6]
    parts[#parts + 1] = part
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
    local none = kinds[part[1]].none
    local state, rest = kinds[part[1]].decide(part, states[at] or none)
    if not state then return {found, seconds, micros, rest or 0} end
    if part[3] > 0 then
        bytes[at], charged = write(part, state), true
    else
        bytes[at] = raw[at] or (part[7] == 'i' and '\127\0\0' or write(part, none))
    end
    keep = math.max(keep, rest)
end
if not charged then return {found, seconds, micros, 0} end
local rest = math.max(math.ceil(math.min(keep, tonumber(ARGV[2])) / 1000), tonumber(ARGV[3]), 1)
redis.call('SET', KEYS[1], table.concat(bytes), 'PX', string.format('%.0f', rest))
return {found, seconds, micros, 1}
