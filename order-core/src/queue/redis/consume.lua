-- Consumes claims that are still held: by this consumer, and not delivered again since.
-- KEYS: stream, known, delayed, dead, reasons.
-- ARGV: group, consumer, what to do (ack, retry or dead), its argument (delay in ms, or the
-- reason), then of each claim: entry id, deliveries, order, attempts.
local stream, known, delayed, dead, reasons = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, consumer, what, argument = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local consumed = 0
for i = 5, #ARGV, 4 do
    local id, deliveries, order, attempts = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    -- Fails when the group is gone, and the claim with it.
    local pending = redis.pcall('XPENDING', stream, group, id, id, 1, consumer)
    if not pending.err and pending[1] and pending[1][4] == tonumber(deliveries) then
        redis.call('XACK', stream, group, id)
        redis.call('XDEL', stream, id)
        if what == 'retry' then
            redis.call('ZADD', delayed, now + argument, order .. ':' .. attempts)
            redis.call('HSET', known, order, 'delayed:' .. attempts)
        else
            redis.call('HDEL', known, order)
        end
        if what == 'dead' then
            redis.call('ZADD', dead, now, order)
            redis.call('HSET', reasons, order, attempts .. ' ' .. argument)
        end
        consumed = consumed + 1
    end
end
return consumed
