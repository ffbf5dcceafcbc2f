-- Removes what is over; how many those were, and the milliseconds until the next is, -1 without one.
local count = sweep(1000)
redis.call('SET', KEYS[1], string.format('%.0f', version))
local next = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if next[2] then
    return {count, math.max(0, tonumber(next[2]) - now + 1)}
end
return {count, -1}
