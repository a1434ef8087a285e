-- meter.rs: used(now) = max(used − (now − at) · drain, 0). Admits if used + cost · unit ≤ capacity. WIDE
-- marks units of 2^48 = UNITS and more; FASTEST is the highest drain as pace.rs writes it.
local WIDE, UNITS, FASTEST = 57344, 281474976710656, 56320

-- pace.rs: the pace (unit, drain) of a limit as its lower 48 and upper 16 bits. high − 1 is the drain as a
-- float: its exponent, `beyond`, and a mantissa of 11 bits, rounded down.
local function pace(limit)
    if not limit.low then
        local drain, unit = limit[1], limit[2]
        local _, bits = math.frexp(drain)
        local beyond = math.max(bits - 11, 0)
        limit.low, limit.high = unit, beyond * 1024 + math.floor(drain / 2 ^ beyond) + 1
        if unit >= UNITS then limit.low, limit.high = unit % UNITS, WIDE + math.floor(unit / UNITS) end
    end
    return limit.low, limit.high
end

-- pace.rs: the unit of a pace, and its drain if it is kept.
local function paced(low, high)
    if high >= WIDE then return low + (high - WIDE) * UNITS end
    if high == 0 then return low end
    local beyond = math.max(math.floor((high - 1) / 1024) - 1, 0)
    return low, (high - 1 - beyond * 1024) * 2 ^ beyond
end

-- meter/change.rs: max(used − passed · drain, 0). Compared by ⌈used / drain⌉, since passed · drain may exceed
-- a double.
local function drained(used, drain, passed)
    if used == 0 or drain == 0 or passed <= 0 then return used end
    if passed >= divide_up(used, drain) then return 0 end
    return used - passed * drain
end

-- meter/change.rs: ⌈used · to / from⌉, or nothing if the numbers are too large. The product may exceed a
-- double, so it is whole · to plus a long division of part · to by from, bit after bit.
local function converted(used, from, to)
    if from == to then return used end
    local whole = divide_down(used, from)
    local part, quotient, rest = used - whole * from, 0, 0
    if part > 0 then
        if from > EXACT / 2 then return nil end
        local _, bits = math.frexp(to)
        for bit = bits - 1, 0, -1 do
            quotient, rest = quotient * 2, rest * 2
            if rest >= from then quotient, rest = quotient + 1, rest - from end
            if math.floor(to / 2 ^ bit) % 2 == 1 then
                rest = rest + part
                if rest >= from then quotient, rest = quotient + 1, rest - from end
            end
        end
        if rest > 0 then quotient = quotient + 1 end
    end
    if whole * to > EXACT or whole * to + quotient > EXACT then return nil end
    return whole * to + quotient
end

-- meter/change.rs: the time and the level of a state in units of this limit, whether the state ends the pace
-- of another limit, and whether it belongs to another limit; nothing if the numbers are too large.
local function own(limit, state, now)
    if state.used > EXACT then return nil end
    local low, high = pace(limit)
    local is_own = state.low == low and state.high == high
    if is_own or state.used == 0 then return state.at, state.used, false end
    local unit, drain = paced(state.low, state.high)
    if unit > EXACT then return nil end
    local left, at = state.used, state.at
    if drain then left, at = drained(left, drain, now - at), math.max(now, at) end
    local used = converted(left, unit, limit[2])
    if not used then return nil end
    return at, used, drain and used > 0, drain
end

local function at_pace(limit, at, used)
    local low, high = pace(limit)
    return {at = at, used = used, low = low, high = high}
end

-- The level at a time in units of this limit, since when, and the same two flags; nothing if the numbers are
-- too large.
local function level(limit, state, now)
    local at, used, is_ended, is_other = own(limit, state, now)
    if not at then return nil end
    return drained(used, limit[1], now - at), math.max(now, at), is_ended, is_other
end

local function fresh_after(slowest, at, used)
    if used == 0 then return at end
    return slowest[1] > 0 and at + divide_up(used, slowest[1]) or EXACT
end

-- Whether the fields are those of a state never used; nothing if no state has such fields.
local function is_unused(at, used, low, high)
    if used == 0 then
        if at == 0 and low == 0 and high == 0 then return true end
        return nil
    end
    if high > FASTEST and high <= WIDE or low == 0 and high < WIDE then return nil end
    return false
end

kinds.l = {
    tag = 0x21,
    length = 25,
    numbers = 3,
    none = {at = 0, used = 0, low = 0, high = 0, fresh = true},
    read = function(bytes)
        local at, used, low, high = struct.unpack('<I8I8I6I2', bytes, 2)
        local fresh = is_unused(at, used, low, high)
        return fresh ~= nil and {at = at, used = used, low = low, high = high, fresh = fresh} or nil
    end,
    -- meter.rs: the state at the time at which another limit takes over; nothing if the numbers are too
    -- large. The state of another limit stays as it is until it is asked for.
    advance = function(limit, state, to)
        local used, at, _, is_other = level(limit, state, to)
        if used == 0 then return kinds.l.none end
        if not used or is_other then return used and state end
        local moved = at_pace(limit, at, used)
        if moved.high < WIDE then moved.high = 0 end
        return moved
    end,
    decide = function(limit, state, now, slowest)
        local used, at, is_ended = level(limit, state, now)
        if not used then return nil, -1 end
        local kept, kept_until
        if is_ended then kept, kept_until = at_pace(limit, at, used), fresh_after(slowest, at, used) end
        -- cost > capacity is compared on its own, so that the sum below stays exact.
        local cost = limit.cost * limit[2]
        local denies = cost > 0 and (cost > limit[3] or used + cost > limit[3])
        if denies then return nil, nil, kept, kept_until end
        local fresh_at = fresh_after(slowest, at, used + limit.charge * limit[2])
        if limit.charge == 0 then return state, state.used == 0 and 0 or fresh_at, kept, kept_until end
        return at_pace(limit, at, used + limit.charge * limit[2]), fresh_at, kept, kept_until
    end,
    write = function(state)
        return struct.pack('<I1I8I8I6I2', 0x21, state.at, state.used, state.low, state.high)
    end,
}

-- leaky_bucket_queue/state.rs: the queue at the pace of a limit, and whether it ends the pace of another one.
-- The last turn may end later than the level drains.
local function own_queue(limit, state, now)
    local at, used, is_ended, is_other = own(limit, state, now)
    if not at or state.ends > EXACT then return nil end
    if is_other and not is_ended and state.ends > now then
        at, used, is_ended = now, converted(1, UNITS - 1, limit[2]), true
    end
    if not used then return nil end
    local queue = at_pace(limit, at, used)
    queue.ends = is_ended and math.max(state.ends, at) or state.ends
    return queue, is_ended
end

-- Turns promised under another rate stay promised: the level is at least (ends − at) · drain, which drains
-- until the last turn is over. Nothing if the numbers are too large.
local function with_promises(limit, queue)
    local until_end = math.max(queue.ends - queue.at, 0) * limit[1]
    if until_end <= queue.used then return queue end
    return until_end <= EXACT and at_pace(limit, queue.at, until_end) or nil
end

-- The queue after booking on `queue`. `held` is the level with promised turns: ends = at + ⌊held.used /
-- drain⌋.
local function booked_queue(limit, queue, held, booked)
    local used = level(limit, queue, held.at) + booked * limit[2]
    local left = at_pace(limit, held.at, math.max(used, held.used > 0 and 1 or 0))
    left.ends = held.at + (limit[1] > 0 and divide_down(held.used, limit[1]) or 0)
    return left
end

kinds.f = {
    tag = 0x23,
    length = 33,
    numbers = 3,
    none = {at = 0, used = 0, low = 0, high = 0, ends = 0, fresh = true},
    read = function(bytes)
        local at, used, low, high, ends = struct.unpack('<I8I8I6I2I8', bytes, 2)
        local fresh = is_unused(at, used, low, high)
        if fresh == nil or ends < at or (fresh and ends ~= 0) then return nil end
        return {at = at, used = used, low = low, high = high, ends = ends, fresh = fresh}
    end,
    advance = function(limit, state, to)
        local _, _, _, is_other = own(limit, state, to)
        local moved = kinds.l.advance(limit, state, to)
        if not moved or state.ends > EXACT then return nil end
        if moved.fresh and state.ends <= to then return kinds.f.none end
        if is_other then return state end
        if moved.fresh then return {at = to, used = 1, low = UNITS - 1, high = 0, ends = state.ends} end
        moved.ends = math.max(state.ends, moved.at)
        return moved
    end,
    decide = function(limit, state, now, slowest)
        local queue, is_ended = own_queue(limit, state, now)
        local held = queue and with_promises(limit, queue)
        if not held then return nil, -1 end
        local kept, kept_until
        if is_ended then kept, kept_until = queue, fresh_after(slowest, held.at, held.used) end
        local left, fresh_at = kinds.l.decide(limit, held, now, slowest)
        if not left then return nil, fresh_at, kept, kept_until end
        if limit.charge > 0 then state = booked_queue(limit, queue, left, limit.charge) end
        return state, fresh_at, kept, kept_until
    end,
    write = function(state)
        return struct.pack('<I1I8I8I6I2I8', 0x23, state.at, state.used, state.low, state.high, state.ends)
    end,
}
