-- sliding_window.rs: used = current + ⌊previous · left / period⌋, where left is the part of the window before
-- that has not slid out. Admits if used + cost ≤ limit.
kinds.s = {
    tag = 0x12,
    length = 25,
    numbers = 2,
    none = {at = 0, period = 0, previous = 0, current = 0, fresh = true},
    read = function(bytes)
        local at, period, previous, current = struct.unpack('<I8I8I4I4', bytes, 2)
        local fresh = previous == 0 and current == 0
        if fresh then
            if at ~= 0 or period ~= 0 then return nil end
        elseif period == 0 or period > EXACT or (previous > 0 and at < period) then
            return nil
        end
        return {at = at, period = period, previous = previous, current = current, fresh = fresh}
    end,
    decide = function(limit, state, now)
        local period, previous, current = limit[1], state.previous, state.current
        if state.period ~= period and state.period ~= 0 then
            local left = state.period - state.at % state.period
            if previous * left > EXACT then return nil, -1 end
            previous, current = 0, math.min(current + divide_down(previous * left, state.period), WORD - 1)
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
        -- A previous count that rounds to 0 stays at 0, so it is dropped as sliding_window.rs does.
        local before = divide_down(previous * left, period)
        if before == 0 then previous = 0 end
        local used = current + before
        if limit.cost > 0 and used + limit.cost > limit[2] then return nil end
        -- ⌊count · left / period⌋ is 0 once left < period / count: the last ⌊(period − 1) / count⌋ µs count
        -- for nothing.
        local function ends(count, at) return count == 0 and 0 or at - divide_down(period - 1, count) end
        if limit.charge == 0 then
            if current == 0 then return state, ends(previous, at + left) end
            return state, ends(current, at + left + period)
        end
        current = current + limit.charge
        return {at = at, period = period, previous = previous, current = current}, ends(current, at + left + period)
    end,
    write = function(state)
        return struct.pack('<I1I8I8I4I4', 0x12, state.at, state.period, state.previous, state.current)
    end,
}

