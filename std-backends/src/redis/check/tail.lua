-- Admits everything, and keeps the value that it finds.
kinds.u = {
    numbers = 0,
    none = {at = 0, fresh = true},
    measure = function() return nil end,
    decide = function(_, state) return state, 0 end,
}

-- formula.rs: the limits in ARGV. Each has its kind; its nesting from the outside, 'i' for inline and 'h' for
-- hours; if inline, the room of the outermost layer; if hours, how far local time is ahead and the number of
-- limits; and for each of those limits, if hours, when they begin and end, then `cost`, `charge` and its
-- numbers.
local parts, place = {}, 4
local function number()
    place = place + 1
    return tonumber(ARGV[place - 1])
end
while ARGV[place] do
    local part = {kind = kinds[ARGV[place]], layers = ARGV[place + 1]}
    place = place + 2
    local limits = 1
    if part.layers ~= '' then
        part.bare = string.sub(part.layers, -1) == 'h'
        if string.find(part.layers, 'i', 1, true) then part.room = number() end
        if string.find(part.layers, 'h', 1, true) then part.ahead, limits = number(), number() end
    end
    for at = 1, limits do
        local limit = {}
        if part.ahead then limit.from, limit.to = number(), number() end
        limit.cost, limit.charge = number(), number()
        for count = 1, part.kind.numbers do limit[count] = number() end
        part[at] = limit
    end
    parts[#parts + 1] = part
end

-- erased/inline.rs and time_of_day.rs: the state of a limit at an offset, its end, the time that its hours
-- keep, and the offset of that time; nothing if there is none. An inline state of another strategy counts as
-- a key never seen.
local function read(part, value, from)
    local kind, first, ends, outer, at, kept, spot = part.kind, from, nil, nil, 0, 0, nil
    for layer = 1, #part.layers do
        if string.byte(part.layers, layer) == 104 then
            local head = take(value, first, first + 9)
            if #head < 9 or string.byte(head) ~= 0x41 then return outer and kind.none, outer, kept end
            at, first, spot = struct.unpack('<I8', head, 2), first + 9, first + 1
        else
            local head = take(value, first, first + 3)
            if #head < 3 or string.byte(head) ~= 0x7f then return outer and kind.none, outer, kept end
            local length = struct.unpack('<I2', head, 2)
            first = first + 3
            local fits = ends == first + length
            if not ends then fits = length <= part.room and first + length <= value.size + 1 end
            if not fits then return outer and kind.none, outer, kept end
            ends = first + length
            if layer == 1 then outer = ends end
            if length == 0 then
                if at ~= 0 then return outer and kind.none, outer, kept end
                return kind.none, outer or ends, 0
            end
            kept = at
        end
    end
    local length, state = kind.length, nil
    local bytes = take(value, first, first + (length or 25))
    if string.byte(bytes) == kind.tag then
        length = length or kind.measure(bytes)
        if length and (ends or value.size + 1) >= first + length and (not ends or ends == first + length) then
            if not kind.excerpt and length > #bytes then bytes = take(value, first, first + length) end
            state = kind.read(bytes, part[1], value, first)
        end
    end
    if state and not (part.bare and state.fresh and at ~= 0) then return state, outer or ends or first + length, at, spot end
    if part.layers == '' or part.bare then return outer and kind.none, outer, kept end
    return kind.none, outer or ends, kept
end

local function wrap(part, bytes, at)
    for layer = #part.layers, 1, -1 do
        if string.byte(part.layers, layer) == 104 then
            bytes = struct.pack('<I1I8', 0x41, at) .. bytes
        else
            bytes = struct.pack('<I1I2', 0x7f, #bytes) .. bytes
        end
    end
    return bytes
end

-- The bytes to store for a limit: the booked state, else the old bytes, else the state of a key never seen.
local function text(piece)
    local part = piece.part
    if piece.booked then return wrap(part, part.kind.write(piece.booked), piece.present) end
    if piece.from then return take(piece.value, piece.from, piece.ends) end
    if string.byte(part.layers) == 105 then return '\127\0\0' end
    if part.layers == 'h' or part.layers == '' then return wrap(part, part.kind.write(part.kind.none), 0) end
    return wrap({layers = 'hi'}, '', 0)
end

-- time_of_day.rs: the limit that holds at a time, and when another may take over.
local DAY = 86400000000
local function holding(part, at)
    local time, rest, other = (at % DAY + part.ahead) % DAY, DAY, nil
    for _, limit in ipairs(part) do
        local from, to = limit.from, limit.to
        if from == to then
            other = limit
        elseif (from < to and from <= time and time < to) or (from > to and (from <= time or time < to)) then
            return limit, at + (to > time and to - time or DAY - time + to)
        else
            rest = math.min(rest, from > time and from - time or DAY - time + from)
        end
    end
    return other, at + rest
end

-- time_of_day.rs: a decision by the limit that holds, after the limits of earlier hours have advanced the
-- state. 10958 days are 30 years: a state left that long ago is void, and the loop stays short.
local function decide(piece)
    local part, state, at = piece.part, piece.state, math.max(now, piece.at)
    local kind, limit, slowest = part.kind, part[1], part[1]
    if part.ahead then
        local from = piece.at
        if at - from >= 10958 * DAY then state = kind.none end
        while kind.advance and not state.fresh do
            local held, ends = holding(part, from)
            if ends > at then break end
            state = kind.advance(held, state, ends)
            if not state then return 0, nil, -1 end
            from = ends
        end
        limit = holding(part, at)
        for _, other in ipairs(part) do
            if other[1] < slowest[1] then slowest = other end
        end
    end
    piece.present = at
    return limit.charge, kind.decide(limit, state, at, slowest)
end

-- When all states of a key are fresh if nothing is booked, and whether one lies ahead of the clock.
local function free_at(pieces)
    local latest, is_ahead = now, false
    for _, piece in ipairs(pieces) do
        is_ahead = is_ahead or math.max(piece.at, piece.state.at) > now
        for _, limit in ipairs(piece.part) do limit.cost, limit.charge = 0, 0 end
        local _, _, fresh_at = decide(piece)
        latest = math.max(latest, fresh_at or 0)
    end
    return latest, is_ahead
end

-- All states of a key, or none: a value with some of them was written for other limits.
local function states(value)
    local pieces, from = {}, 1
    for at, part in ipairs(parts) do
        local state, ends, hour, spot = read(part, value, from)
        if not state or (at == #parts and ends ~= value.size + 1) then return nil end
        if state.at > EXACT or hour > EXACT then return nil, -1 end
        pieces[at] = {part = part, value = value, state = state, from = from, ends = ends, at = hour, spot = spot}
        from = ends
    end
    return pieces
end

local function nothing()
    local pieces = {}
    for at, part in ipairs(parts) do pieces[at] = {part = part, state = part.kind.none, at = 0} end
    return pieces
end

local answer, values, changes = {seconds, micros, 0}, {}, {}
for which, key in ipairs(KEYS) do
    local value, failed = open(key)
    if failed then return failed end
    local pieces
    if value then pieces, failed = states(value) end
    if failed then return {seconds, micros, failed} end
    values[which], changes[which] = value, pieces or nothing()
    answer[3 + which] = excerpt(value, changes[which], wrap) or false
end
local keep, denies, charged = {}, false, false
for which in ipairs(KEYS) do
    keep[which] = now
    for _, piece in ipairs(changes[which]) do
        local books, left, fresh_at, kept = decide(piece)
        if not left and fresh_at then
            answer[3] = fresh_at
            return answer
        end
        denies, charged = denies or not left, charged or books > 0
        piece.left, piece.kept = books > 0 and left or kept, kept
        keep[which] = math.max(keep[which], fresh_at or 0)
    end
end
-- If one limit denies, nothing is booked, but converted states of other limits are stored.
for which, key in ipairs(KEYS) do
    local pieces, stores, fresh_at, is_ahead = changes[which], false, keep[which], true
    for _, piece in ipairs(pieces) do
        if denies then piece.booked = piece.kept else piece.booked = piece.left end
        stores = stores or piece.booked ~= nil
    end
    if denies or (stores and not charged) then fresh_at, is_ahead = free_at(pieces) end
    if stores then
        store(key, values[which], pieces, text, milliseconds(fresh_at, not is_ahead and EXACT))
        answer[3] = 1
    elseif denies and values[which] and not is_ahead then
        prolong(key, fresh_at)
    end
end
return answer
