-- A value is read and written as a whole.
local function open(key)
    local found = redis.pcall('GET', key)
    if type(found) == 'table' then
        -- A value that is no string counts as an empty string, which is no state.
        if not string.find(found.err, 'WRONGTYPE', 1, true) then return nil, found end
        found = ''
    end
    return found and {bytes = found, size = #found}
end

local function take(value, first, ends) return string.sub(value.bytes, first, ends - 1) end

-- The whole value goes to the client.
local function excerpt(value) return value and value.bytes end

local function store(key, _, pieces, text, rest)
    local bytes = {}
    for at, piece in ipairs(pieces) do bytes[at] = text(piece) end
    redis.call('SET', key, table.concat(bytes), 'PX', rest)
end

