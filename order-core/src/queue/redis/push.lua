-- Offers orders that are not on the topic. What `known` says is checked: Redis may have lost
-- an entry and not the note of it.
-- KEYS: stream, known, delayed, dead. ARGV: orders. Gives how many were not there.
local stream, known, delayed, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local pushed = 0
local SLICE = 1000 -- How many arguments Lua can hand over at once is bounded.
local function is_there(order, where)
    local attempts = string.match(where, '^delayed:(%d+)$')
    if attempts then
        return redis.call('ZSCORE', delayed, order .. ':' .. attempts)
    end
    return redis.call('XRANGE', stream, where, where)[1]
end
for first = 1, #ARGV, SLICE do
    local last = math.min(first + SLICE - 1, #ARGV)
    local places = redis.call('HMGET', known, unpack(ARGV, first, last))
    local deaths = redis.call('ZMSCORE', dead, unpack(ARGV, first, last))
    local noted = {}
    for i = 1, last - first + 1 do
        local order, where = ARGV[first + i - 1], places[i]
        if not deaths[i] and not (where and is_there(order, where)) then
            noted[#noted + 1] = order
            noted[#noted + 1] = redis.call('XADD', stream, '*', 'order', order, 'attempts', 0)
        end
    end
    if #noted > 0 then
        redis.call('HSET', known, unpack(noted))
        pushed = pushed + #noted / 2
    end
end
return pushed
