-- How much a topic holds.
-- KEYS: stream, delayed, dead, paused. ARGV: group.
-- Gives: waiting, in flight, delayed, dead, age of the oldest waiting in ms, paused.
local stream, delayed, dead, paused = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local in_flight, last = 0, '0-0'
local groups = redis.pcall('XINFO', 'GROUPS', stream)
if not groups.err then
    for _, fields in ipairs(groups) do
        local group = {}
        for i = 1, #fields, 2 do
            group[fields[i]] = fields[i + 1]
        end
        if group['name'] == ARGV[1] then
            in_flight, last = group['pending'], group['last-delivered-id']
        end
    end
end
local due = redis.call('ZCOUNT', delayed, '-inf', now)
local waiting = redis.call('XLEN', stream) - in_flight + due
local oldest = now
local next_entry = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)
if next_entry[1] then
    oldest = math.min(oldest, tonumber(string.match(next_entry[1][1], '^%d+')))
end
local first_due = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
if first_due[2] and tonumber(first_due[2]) < oldest then
    oldest = tonumber(first_due[2])
end
return { waiting, in_flight, redis.call('ZCARD', delayed) - due, redis.call('ZCARD', dead),
    now - oldest, redis.call('EXISTS', paused) }
