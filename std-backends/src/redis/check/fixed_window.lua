-- fixed_window.rs: used counts while at ≥ start of the present window; else it is 0. Admits if used + cost ≤
-- limit.
kinds.w = {
    tag = 0x11,
    length = 13,
    numbers = 3,
    none = {at = 0, used = 0, fresh = true},
    read = function(bytes)
        local at, used = struct.unpack('<I8I4', bytes, 2)
        if used == 0 and at ~= 0 then return nil end
        return {at = at, used = used, fresh = used == 0}
    end,
    decide = function(limit, state, now)
        local at = math.max(now, state.at)
        local start, ends = window(at, limit[1], limit[2])
        local used = state.at >= start and state.used or 0
        if limit.cost > 0 and used + limit.cost > limit[3] then return nil end
        if limit.charge == 0 then return state, state.used == 0 and 0 or ends end
        return {at = at, used = used + limit.charge}, ends
    end,
    write = function(state) return struct.pack('<I1I8I4', 0x11, state.at, state.used) end,
}

