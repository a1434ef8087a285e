-- sliding_log.rs and ring.rs: a ring of times and running sums. A decision reads O(log n) entries by
-- bisection and writes one.
local HEAD, SLOT = 17, 12

-- The time of an entry, and the sum of all costs up to and including it.
local function entry(log, place)
    local first = log.first + (log.head + place) % log.slots * SLOT
    return struct.unpack('<I8I4', take(log.value, first, first + SLOT))
end

local function sum_before(log, place)
    if place == 0 then return log.base end
    local _, sum = entry(log, place - 1)
    return sum
end

-- The first place from `from` on where `holds`, which must hold from some place to the end: bisection.
local function first_place(log, from, holds)
    local low, high, middle = from, log.length, from
    while low < high do
        if holds(middle) then high = middle else low = middle + 1 end
        middle = low + math.floor((high - low) / 2)
    end
    return low
end

-- The first entry in the period, and what is in use: used = (sum − sum_before(first)) mod 2^32.
local function present(limit, log, now)
    local at = math.max(now, log.at)
    local first = first_place(log, 0, function(place)
        local used_at = entry(log, place)
        return at - used_at < limit[1]
    end)
    return first, (log.sum - sum_before(log, first)) % WORD
end

-- The bytes of `count` entries in a row, over the end of the ring.
local function row(log, from, count)
    local slot = (log.head + from) % math.max(log.slots, 1)
    local until_end = math.min(count, log.slots - slot)
    local first = log.first + slot * SLOT
    local bytes = take(log.value, first, first + until_end * SLOT)
    if count > until_end then bytes = bytes .. take(log.value, log.first, log.first + (count - until_end) * SLOT) end
    return bytes
end

local function ring(slots, head, length, base)
    return struct.pack('<I1I4I4I4I4', 0x14, slots, head, length, base)
end

kinds.g = {
    tag = 0x14,
    numbers = 3,
    none = {at = 0, slots = 0, head = 0, length = 0, base = 0, sum = 0, fresh = true},
    measure = function(bytes)
        if #bytes < HEAD then return nil end
        return HEAD + SLOT * struct.unpack('<I4', bytes, 2)
    end,
    read = function(bytes, limit, value, first)
        local slots, head, length, base = struct.unpack('<I4I4I4I4', bytes, 2)
        if slots > limit[3] or length > slots or head >= math.max(slots, 1) then return nil end
        local log = {value = value, first = first + HEAD, slots = slots, head = head, length = length, base = base}
        log.at, log.sum, log.fresh = 0, base, length == 0
        if length > 0 then log.at, log.sum = entry(log, length - 1) end
        return log
    end,
    decide = function(limit, log, now)
        local first, used = present(limit, log, now)
        if limit.cost > 0 and used + limit.cost > limit[2] then return nil end
        local at = math.max(now, log.at)
        if limit.charge == 0 then return log, log.fresh and 0 or log.at + limit[1] end
        local kept = log.length - first
        local booked = {log = log, from = first, kept = kept, room = limit[3], base = sum_before(log, first)}
        -- Costs at one time share one entry.
        if kept > 0 and at == log.at then booked.kept = kept - 1 end
        -- Every entry has a cost of at least 1, so more than `room` entries were never booked.
        if booked.kept >= limit[3] then return nil, -1 end
        booked.entry = struct.pack('<I8I4', at, (log.sum + limit.charge) % WORD)
        return booked, at + limit[1]
    end,
    -- The excerpt of a log for the client. Two entries lead to the same decision: the last one that must
    -- slide out before the hit fits, and the newest.
    excerpt = function(limit, log)
        local first, used = present(limit, log, now)
        if used == 0 then return ring(0, 0, 0, 0) end
        local all = struct.pack('<I8I4', log.at, log.sum)
        local base, room = (log.sum - used) % WORD, limit[2] - limit.cost
        if used <= room or room < 0 then return ring(1, 0, 1, base) .. all end
        local last = first_place(log, first, function(place)
            local _, sum = entry(log, place)
            return (log.sum - sum) % WORD <= room
        end)
        if last == log.length - 1 then return ring(1, 0, 1, base) .. all end
        return ring(2, 0, 2, base) .. row(log, last, 1) .. all
    end,
    -- The edits that add an entry without moving others: the head of the ring, and one slot.
    edits = function(booked)
        local log, length = booked.log, booked.kept + 1
        if length > log.slots then return nil end
        local head = (log.head + booked.from) % log.slots
        local slot = (head + booked.kept) % log.slots
        return {
            {log.first - HEAD, ring(log.slots, head, length, booked.base)},
            {log.first + slot * SLOT, booked.entry},
        }
    end,
    -- All entries in a row, with room for as many again, so that a log is rewritten rarely.
    write = function(booked)
        if booked.fresh then return ring(0, 0, 0, 0) end
        local log, length, slots = booked.log, booked.kept + 1, booked.log.slots
        while slots < length do slots = math.min(math.max(slots * 2, 4), booked.room) end
        local kept = booked.kept > 0 and row(log, booked.from, booked.kept) or ''
        return ring(slots, 0, length, booked.base) .. kept .. booked.entry .. string.rep('\0', (slots - length) * SLOT)
    end,
}

