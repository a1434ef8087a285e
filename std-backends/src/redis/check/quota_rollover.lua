-- quota_rollover.rs: rollover = min(⌊(most − before) · num / den⌋, limit[5]), the unused share of the window
-- before. Admits if used + cost ≤ most + rollover.
kinds.q = {
    tag = 0x32,
    length = 17,
    numbers = 5,
    none = {at = 0, used = 0, before = 0, fresh = true},
    read = function(bytes)
        local at, used, before = struct.unpack('<I8I4I4', bytes, 2)
        local fresh = used == 0 and before == 0
        if fresh and at ~= 0 then return nil end
        return {at = at, used = used, before = before, fresh = fresh}
    end,
    decide = function(limit, state, now)
        local period, most, num, den = limit[1], limit[2], limit[3], limit[4]
        local at = math.max(now, state.at)
        local start, ends = window(at, period, 0)
        local used, before = 0, 0
        if state.at >= start then
            used, before = state.used, state.before
        elseif start - state.at <= period then
            before = state.used
        end
        local unused = math.max(most - before, 0) * num
        local rollover = divide_up(unused, den)
        if rollover * den > unused then rollover = rollover - 1 end
        if limit.cost > 0 and used + limit.cost > most + math.min(rollover, limit[5]) then return nil end
        if limit.charge == 0 then
            if used > 0 then return state, ends + period end
            return state, before > 0 and ends or 0
        end
        return {at = at, used = used + limit.charge, before = before}, ends + period
    end,
    write = function(state) return struct.pack('<I1I8I4I4', 0x32, state.at, state.used, state.before) end,
}

