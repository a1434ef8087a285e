-- meter.rs: the level drains until the present, and what it drains to decides.

-- What is in use at a time, in units of this limit; nothing if the numbers are too large.
local function level(limit, state, to)
    local drain, unit, used = limit[1], limit[2], state.used
    if used > 0 and state.unit ~= unit then used = divide_up(used, state.unit) * unit end
    if used > EXACT then return nil end
    if drain == 0 or used == 0 or to <= state.at then return used end
    if to - state.at >= divide_up(used, drain) then return 0 end
    return used - (to - state.at) * drain
end

kinds.l = {
    tag = 0x21,
    length = 25,
    numbers = 3,
    none = {at = 0, used = 0, unit = 0, fresh = true},
    read = function(bytes)
        local at, used, unit = struct.unpack('<I8I8I8', bytes, 2)
        local fresh = used == 0 or unit == 0
        if fresh and (at ~= 0 or used ~= 0 or unit ~= 0) then return nil end
        return {at = at, used = used, unit = unit, fresh = fresh}
    end,
    -- The state at a time at which another limit takes over; nothing if the numbers are too large.
    advance = function(limit, state, to)
        local used = level(limit, state, to)
        if used == 0 then return kinds.l.none end
        return used and {at = math.max(to, state.at), used = used, unit = limit[2]}
    end,
    decide = function(limit, state, now, slowest)
        local used = level(limit, state, now)
        if not used then return nil, -1 end
        local at, unit, asked = math.max(now, state.at), limit[2], limit.asked * limit[2]
        if asked > 0 and (asked > limit[3] or used + asked > limit[3]) then return nil end
        used = used + limit.booked * unit
        local drain, fresh_at = slowest[1], EXACT
        if drain > 0 then fresh_at = at + divide_up(used, drain) end
        if limit.booked == 0 then return state, state.used == 0 and 0 or fresh_at end
        return {at = at, used = used, unit = unit}, fresh_at
    end,
    write = function(state) return struct.pack('<I1I8I8I8', 0x21, state.at, state.used, state.unit) end,
}

-- leaky_bucket_queue/state.rs: turns that were told under another rate stay told, so as much is in use as drains until
-- the last of them is over; nothing if the numbers are too large.
local function as_told(limit, state)
    local used = level(limit, state, state.at)
    if not used or state.ends > EXACT then return nil end
    local until_end = (state.ends - state.at) * limit[1]
    if until_end <= used then return state end
    return until_end <= EXACT and {at = state.at, used = until_end, unit = limit[2]} or nil
end

-- The state that is left, of which as much was used as of `state`, and what is booked; `held` is the level as told.
local function telling(limit, state, held, booked)
    local used = math.max(level(limit, state, held.at) + booked * limit[2], held.used > 0 and 1 or 0)
    local drains = limit[1] > 0 and divide_down(held.used, limit[1]) or 0
    return {at = held.at, used = used, unit = limit[2], ends = held.at + drains}
end

kinds.f = {
    tag = 0x23,
    length = 33,
    numbers = 3,
    none = {at = 0, used = 0, unit = 0, ends = 0, fresh = true},
    read = function(bytes)
        local at, used, unit, ends = struct.unpack('<I8I8I8I8', bytes, 2)
        local fresh = used == 0 or unit == 0
        if fresh and (at ~= 0 or used ~= 0 or unit ~= 0 or ends ~= 0) or ends < at then return nil end
        return {at = at, used = used, unit = unit, ends = ends, fresh = fresh}
    end,
    advance = function(limit, state, to)
        local held = as_told(limit, state)
        local moved = held and kinds.l.advance(limit, held, to)
        if not moved then return nil end
        return moved.fresh and kinds.f.none or telling(limit, state, moved, 0)
    end,
    decide = function(limit, state, now, slowest)
        local held = as_told(limit, state)
        if not held then return nil, -1 end
        local left, fresh_at = kinds.l.decide(limit, held, now, slowest)
        if not left then return nil, fresh_at end
        return limit.booked == 0 and state or telling(limit, state, left, limit.booked), fresh_at
    end,
    write = function(state)
        return struct.pack('<I1I8I8I8I8', 0x23, state.at, state.used, state.unit, state.ends)
    end,
}
