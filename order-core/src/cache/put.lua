-- Keeps an entry unless the one that is there is at the same version or a newer one.
-- An entry is "<version> <JSON of the product>"; an archived product has no JSON.
local kept = redis.call('GET', KEYS[1])
if kept and tonumber(string.match(kept, '^%d+')) >= tonumber(ARGV[1]) then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1
