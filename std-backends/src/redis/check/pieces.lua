-- A value may be long: it is read and written in pieces, and the client gets an excerpt of a log in it.
local AHEAD = 512

local function open(key)
    local found = redis.pcall('GETRANGE', key, 0, AHEAD - 1)
    if type(found) == 'table' then
        -- A value that is no string counts as an empty string, which is no state.
        if not string.find(found.err, 'WRONGTYPE', 1, true) then return nil, found end
        return {key = key, bytes = '', size = 0}
    end
    if found == '' then return nil end
    return {key = key, bytes = found, size = #found < AHEAD and #found or redis.call('STRLEN', key)}
end

local function take(value, first, ends)
    local is_there = ends - 1 <= #value.bytes or value.size == #value.bytes
    if is_there then return string.sub(value.bytes, first, ends - 1) end
    return redis.call('GETRANGE', value.key, first - 1, ends - 2)
end

local function excerpt(value, pieces, wrap)
    if not value or not pieces[1].from then return value and take(value, 1, value.size + 1) end
    local bytes = {}
    for at, piece in ipairs(pieces) do
        local part = piece.part
        if part.kind.excerpt and not part.ahead and piece.state.length > 0 then
            bytes[at] = wrap(part, part.kind.excerpt(part[1], piece.state), 0)
        else
            bytes[at] = take(value, piece.from, piece.ends)
        end
    end
    return table.concat(bytes)
end

-- The changes of a piece in place, as offsets and bytes; nothing if the piece is new or its length changes.
local function edits(piece, text)
    if not piece.from then return nil end
    if not piece.booked then return {} end
    local kind = piece.part.kind
    if kind.edits and piece.state.length > 0 then
        local list = kind.edits(piece.booked)
        if list and piece.spot then list[#list + 1] = {piece.spot, struct.pack('<I8', piece.present)} end
        return list
    end
    local bytes = text(piece)
    return #bytes == piece.ends - piece.from and {{piece.from, bytes}} or nil
end

local function store(key, value, pieces, text, rest)
    local all = {}
    for _, piece in ipairs(pieces) do
        local list = value and edits(piece, text)
        if not list then
            all = nil
            break
        end
        for _, edit in ipairs(list) do all[#all + 1] = edit end
    end
    if all then
        for _, edit in ipairs(all) do redis.call('SETRANGE', key, string.format('%.0f', edit[1] - 1), edit[2]) end
        redis.call('PEXPIRE', key, rest)
        return
    end
    local bytes = {}
    for at, piece in ipairs(pieces) do bytes[at] = text(piece) end
    redis.call('SET', key, table.concat(bytes), 'PX', rest)
end

