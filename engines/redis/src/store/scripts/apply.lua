-- Makes the changes of a batch, all of them or none.
local fences = tonumber(ARGV[3])
local first = 4 + 2 * fences
local changes = (#ARGV - first + 1) / 6

sweep(8 + 2 * changes)
redis.call('SET', KEYS[1], string.format('%.0f', version))

for at = 4, first - 1, 2 do
    local newest = redis.call('GET', base .. 'fence:' .. ARGV[at])
    -- Both have 20 digits.
    if newest and newest > ARGV[at + 1] then
        return {'stale', string.format('%d', (at - 4) / 2), newest}
    end
end
for at = first, #ARGV, 6 do
    local condition = ARGV[at + 1]
    local found = redis.call('GETRANGE', base .. 'record:' .. ARGV[at + 2] .. '/' .. ARGV[at + 3], 0, 15)
    local holds = condition == 'any' or (condition == 'absent' and found == '')
        or (condition == 'present' and found ~= '') or condition == found
    if not holds then
        return {'conflict', string.format('%d', (at - first) / 6), found}
    end
end
for at = 4, first - 1, 2 do
    redis.call('SET', base .. 'fence:' .. ARGV[at], ARGV[at + 1], 'EX', 86400)
end

local answer = {'done'}
for at = first, #ARGV, 6 do
    local what, place, key, ttl, rest = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
    local name = place .. '/' .. key
    local changed = '0'
    if what == 'delete' then
        if redis.call('EXISTS', base .. 'record:' .. name) == 1 then
            changed = remove(place, key)
        end
    elseif what == 'write' then
        if ttl ~= '' then
            changed = note('look', name, ttl)
        elseif #rest <= 1024 then
            changed = note('write', name, rest)
        else
            changed = note('look', name, '')
        end
        local record = string.format('%016.0f', version) .. rest
        if ttl ~= '' then
            local ends = string.format('%.0f', now + ttl)
            redis.call('SET', base .. 'record:' .. name, record, 'PXAT', ends)
            redis.call('ZADD', KEYS[3], ends, name)
        else
            redis.call('SET', base .. 'record:' .. name, record)
            redis.call('ZREM', KEYS[3], name)
        end
        if redis.call('ZADD', base .. 'keys:' .. place, 0, key) == 1 then
            redis.call('ZADD', KEYS[4], 0, place)
        end
    end
    answer[#answer + 1] = changed
end
redis.call('SET', KEYS[1], string.format('%.0f', version))
return answer
