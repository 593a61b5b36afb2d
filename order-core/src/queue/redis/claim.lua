-- Claims entries: what waits out its delay joins the stream first; claims whose lease ran out
-- are taken over; the rest are new ones. What cannot be read is set aside.
-- KEYS: stream, known, delayed, paused, malformed. ARGV: group, consumer, max, lease in ms.
-- Gives, one after the other: entry id, order, attempts before this delivery, deliveries;
-- nothing at all while the topic is paused.
local stream, known, delayed, paused, malformed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, consumer, max, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
if redis.call('EXISTS', paused) == 1 then
    return false
end
-- Fails when the group is there, which is nearly always.
redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, max)) do
    local order, attempts = string.match(member, '^(%x+):(%d+)$')
    redis.call('ZREM', delayed, member)
    local entry = redis.call('XADD', stream, '*', 'order', order, 'attempts', attempts)
    redis.call('HSET', known, order, entry)
end

local claimed = {}
local function take(entry, deliveries)
    local id, fields = entry[1], entry[2]
    local order = fields[1] == 'order' and fields[2]
    local attempts = fields[3] == 'attempts' and tonumber(fields[4])
    if order and attempts and string.match(order, '^%x+$') and #order == 32 then
        table.insert(claimed, id)
        table.insert(claimed, order)
        table.insert(claimed, attempts)
        table.insert(claimed, deliveries)
        return
    end
    redis.call('XACK', stream, group, id)
    redis.call('XDEL', stream, id)
    redis.call('LPUSH', malformed, id .. ' ' .. table.concat(fields, ' '))
    redis.call('LTRIM', malformed, 0, 999)
end

local stale = redis.call('XAUTOCLAIM', stream, group, consumer, lease, '0-0', 'COUNT', max)
for _, entry in ipairs(stale[2]) do
    local pending = redis.call('XPENDING', stream, group, entry[1], entry[1], 1)
    take(entry, pending[1][4])
end
local room = max - #stale[2]
if room > 0 then
    local fresh = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', room,
        'STREAMS', stream, '>')
    if fresh then
        for _, entry in ipairs(fresh[1][2]) do
            take(entry, 1)
        end
    end
end
return claimed
