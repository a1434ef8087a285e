-- strict_window.rs: the use in each bucket of a period, of which the oldest counts whole.

-- Bucket `i` holds the times `t` with ⌊t · buckets / period⌋ = i. The product is exact within a period.
-- Returns the bucket of a time, and the oldest that reaches into the period ending at that time.
local function span(at, period, buckets)
    local periods = math.floor(at / period)
    local into = (at - periods * period) * buckets
    local newest = periods * buckets + math.floor(into / period)
    local after = into % period + buckets
    return newest, math.max(newest + math.floor(after / period) - buckets, 0)
end

-- The time from which a bucket no longer counts: a period after its last microsecond, ⌈(number + 1) · period
-- / buckets⌉ + period − 1.
local function bucket_end(number, period, buckets)
    local periods = math.floor((number + 1) / buckets)
    local into = number + 1 - periods * buckets
    return periods * period + divide_up(into * period, buckets) + period - 1
end

-- The sum of the buckets that count, from the state's own (the newest) down to `oldest`.
local function counts(state, oldest)
    local own = span(state.at, state.period, state.buckets)
    local kept, sum = math.min(own + 1 - oldest, state.buckets + 1), 0
    for at = 1, kept do sum = sum + state[at] end
    return own, kept, sum
end

kinds.k = {
    tag = 0x13,
    numbers = 4,
    none = {at = 0, period = 0, buckets = 0, fresh = true, 0},
    measure = function(bytes)
        if #bytes < 25 then return nil end
        return 25 + 4 * struct.unpack('<I4', bytes, 18)
    end,
    read = function(bytes, limit)
        local at, period, buckets = struct.unpack('<I8I8I4', bytes, 2)
        if buckets > limit[4] then return nil end
        local state, used = {at = at, period = period, buckets = buckets}, false
        for place = 1, buckets + 1 do
            state[place] = struct.unpack('<I4', bytes, 18 + 4 * place)
            used = used or state[place] > 0
        end
        if period == 0 or buckets == 0 or not used then
            state.fresh = true
            return at == 0 and period == 0 and buckets == 0 and not used and state or nil
        end
        -- `decide` reports numbers that are too large; they are not validated here.
        if at > EXACT or period * buckets > EXACT or at / period * buckets > EXACT then return state end
        local _, oldest = span(at, period, buckets)
        local _, kept = counts(state, oldest)
        for place = kept + 1, buckets + 1 do
            if state[place] > 0 then return nil end
        end
        return state
    end,
    decide = function(limit, state, now)
        local period, buckets, at = limit[1], limit[2], math.max(now, state.at)
        if state.period * state.buckets > EXACT or at / period * buckets > EXACT then return nil, -1 end
        if state.period > 0 and state.at / state.period * state.buckets > EXACT then return nil, -1 end
        if state.period ~= period or state.buckets ~= buckets then
            -- All use of another shape of buckets counts as used at the state's own time.
            local sum = 0
            if state.period > 0 then
                local _, oldest = span(state.at, state.period, state.buckets)
                local _, _, used = counts(state, oldest)
                sum = math.min(used, WORD - 1)
            end
            state = {at = state.at, period = period, buckets = buckets, fresh = state.fresh, sum}
            for place = 2, buckets + 1 do state[place] = 0 end
        end
        local newest, oldest = span(at, period, buckets)
        local own, kept, used = counts(state, oldest)
        if limit.cost > 0 and used + limit.cost > limit[3] then return nil end
        if limit.charge == 0 then
            return state, state.fresh and 0 or bucket_end(own, period, buckets)
        end
        local booked, passed = {at = at, period = period, buckets = buckets}, newest - own
        for place = 1, buckets + 1 do
            local before = place - passed
            booked[place] = before >= 1 and before <= kept and state[before] or 0
        end
        booked[1] = booked[1] + limit.charge
        return booked, bucket_end(newest, period, buckets)
    end,
    write = function(state)
        local bytes = {struct.pack('<I1I8I8I4', 0x13, state.at, state.period, state.buckets)}
        for place, count in ipairs(state) do bytes[place + 1] = struct.pack('<I4', count) end
        return table.concat(bytes)
    end,
}

