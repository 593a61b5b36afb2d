-- Consumes claims that are still held: by this consumer, and not delivered again since.
-- KEYS: stream, known, delayed, dead, reasons.
-- ARGV: group, consumer, what to do (ack, retry or dead), its argument (delay in ms, or the
-- reason), then of each claim, by entry id: entry id, deliveries, order, attempts.
local stream, known, delayed, dead, reasons = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, consumer, what, argument = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local FIRST, SIZE = 5, 4
local SLICE = 1000 -- How many arguments Lua can hand over at once is bounded.
local claims = (#ARGV - FIRST + 1) / SIZE
if claims == 0 then
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- What this consumer holds from the first entry to the last; more than asked for, when it
-- holds others in between, which are then looked up one by one.
local held = redis.pcall('XPENDING', stream, group, ARGV[FIRST], ARGV[#ARGV - SIZE + 1], claims,
    consumer)
if held.err then
    return 0 -- The group is gone, and the claims with it.
end
local deliveries_of = {}
for _, pending in ipairs(held) do
    deliveries_of[pending[1]] = pending[4]
end
local function is_held(id, deliveries)
    local delivered = deliveries_of[id]
    if not delivered and #held == claims then
        local pending = redis.call('XPENDING', stream, group, id, id, 1, consumer)
        delivered = pending[1] and pending[1][4]
    end
    return delivered == tonumber(deliveries)
end

local entries, orders = {}, {}
for i = FIRST, #ARGV, SIZE do
    local id, order, attempts = ARGV[i], ARGV[i + 2], ARGV[i + 3]
    if is_held(id, ARGV[i + 1]) then
        entries[#entries + 1] = id
        orders[#orders + 1] = order
        if what == 'retry' then
            redis.call('ZADD', delayed, now + argument, order .. ':' .. attempts)
            redis.call('HSET', known, order, 'delayed:' .. attempts)
        elseif what == 'dead' then
            redis.call('ZADD', dead, now, order)
            redis.call('HSET', reasons, order, attempts .. ' ' .. argument)
        end
    end
end
for first = 1, #entries, SLICE do
    local last = math.min(first + SLICE - 1, #entries)
    redis.call('XACK', stream, group, unpack(entries, first, last))
    if what ~= 'retry' then
        redis.call('HDEL', known, unpack(orders, first, last))
    end
end

-- Nothing before the oldest claim, or before what comes next, is needed any more. To trim is
-- far cheaper than to delete entries one by one.
local oldest = redis.call('XPENDING', stream, group)[2]
if not oldest then
    for _, fields in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
        local info = {}
        for i = 1, #fields, 2 do
            info[fields[i]] = fields[i + 1]
        end
        if info['name'] == group then
            local ms, number = string.match(info['last-delivered-id'], '^(%d+)-(%d+)$')
            oldest = ms .. '-' .. string.format('%.0f', tonumber(number) + 1)
        end
    end
end
redis.call('XTRIM', stream, 'MINID', oldest)
return #entries
