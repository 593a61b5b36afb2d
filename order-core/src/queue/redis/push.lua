-- Offers orders that are not on the topic. What `known` says is checked: Redis may have lost
-- an entry and not the note of it.
-- KEYS: stream, known, delayed, dead. ARGV: orders.
local stream, known, delayed, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local function is_there(order)
    local where = redis.call('HGET', known, order)
    if not where then
        return redis.call('ZSCORE', dead, order)
    end
    local attempts = string.match(where, '^delayed:(%d+)$')
    if attempts then
        return redis.call('ZSCORE', delayed, order .. ':' .. attempts)
    end
    return redis.call('XRANGE', stream, where, where)[1]
end
for _, order in ipairs(ARGV) do
    if not is_there(order) then
        local entry = redis.call('XADD', stream, '*', 'order', order, 'attempts', 0)
        redis.call('HSET', known, order, entry)
    end
end
