-- Whether this consumer sweeps for a while: nobody else does, or did for as long.
-- KEYS: sweeper. ARGV: consumer, for how long in ms.
local sweeper = redis.call('GET', KEYS[1])
if sweeper and sweeper ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
