-- Keeps entries, each unless one is there at the same version or a newer one.
-- An entry is "<epoch>:<version> <JSON of the product>"; an archived product has no JSON, and one
-- that is only known to have changed has "-". What was put in another epoch is not served.
-- KEYS: epoch, then the entries. ARGV: the epoch that was known when the products were read or
-- changed, how long to keep them in ms, then of each its version and its JSON.
-- Gives the epoch.
local epoch = redis.pcall('GET', KEYS[1])
if type(epoch) ~= 'string' then
    epoch = '0'
end
for i = 2, #KEYS do
    local version, json = ARGV[2 * i - 1], ARGV[2 * i]
    if epoch ~= ARGV[1] and json ~= '' then
        -- Everything was forgotten in between, because of a change that may be newer than this.
        json = '-'
    end
    local kept, kept_epoch, kept_version, kept_json = redis.pcall('GET', KEYS[i])
    if type(kept) == 'string' then
        kept_epoch, kept_version, kept_json = string.match(kept, '^(%d+):(%d+) (.*)$')
    end
    local is_newer = not kept_version or tonumber(version) > tonumber(kept_version)
    local is_fresher = kept_version == version and (kept_json == '-' or kept_epoch ~= epoch)
    if is_newer or is_fresher then
        redis.call('SET', KEYS[i], epoch .. ':' .. version .. ' ' .. json, 'PX', ARGV[2])
    end
end
return epoch
