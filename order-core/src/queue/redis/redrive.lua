-- Offers orders again that were given up.
-- KEYS: stream, known, dead, reasons. ARGV: orders.
local stream, known, dead, reasons = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local redriven = 0
for _, order in ipairs(ARGV) do
    if redis.call('ZREM', dead, order) == 1 then
        redis.call('HDEL', reasons, order)
        local entry = redis.call('XADD', stream, '*', 'order', order, 'attempts', 0)
        redis.call('HSET', known, order, entry)
        redriven = redriven + 1
    end
end
return redriven
