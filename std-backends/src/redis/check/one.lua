-- One limit on one key, whose state is stored bare: a short form of `whole.lua` and `tail.lua`.
local kind = kinds[ARGV[4]]
local limit = {cost = tonumber(ARGV[6]), charge = tonumber(ARGV[7])}
for at = 1, kind.numbers do limit[at] = tonumber(ARGV[7 + at]) end

local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then
    -- A value that is no string counts as an empty string, which is no state.
    if not string.find(found.err, 'WRONGTYPE', 1, true) then return found end
    found = ''
end
local state
if found and string.byte(found) == kind.tag and #found == (kind.length or kind.measure(found)) then
    state = kind.read(found, limit)
end
state = state or kind.none
if state.at > EXACT then return {seconds, micros, -1} end
local left, fresh_at, kept, kept_until = kind.decide(limit, state, now, limit)
if not left and fresh_at then return {seconds, micros, fresh_at} end
-- Without a booking, the converted state of another limit keeps the time to live that it needs; a state ahead
-- of the clock keeps this limit's.
local longest = kept and state.at <= now and EXACT
if left and limit.charge > 0 then kept, kept_until, longest = left, fresh_at, nil end
if kept then
    redis.call('SET', KEYS[1], kind.write(kept), 'PX', milliseconds(kept_until, longest))
    return {seconds, micros, 1, found}
end
-- A denied state must outlive the denial: its time to live comes from a decision that asks for nothing.
if not left and found and state.at <= now then
    limit.cost, limit.charge = 0, 0
    local _, free_at = kind.decide(limit, state, now, limit)
    prolong(KEYS[1], free_at)
end
return {seconds, micros, 0, found}
