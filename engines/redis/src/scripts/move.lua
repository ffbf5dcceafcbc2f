-- KEYS: set of what is held back. Adds what is due to its stream. Returns how many there were, and milliseconds until the next or -1.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
for _, member in ipairs(due) do
    local pieces, at = {}, 17
    while at <= #member do
        local piece
        piece, at = struct.unpack('>I4c0', member, at)
        pieces[#pieces + 1] = piece
    end
    local added = redis.pcall('XADD', pieces[1], '*', unpack(pieces, 2))
    if type(added) == 'table' and added.err then
        -- Its key holds something else, or there is no room: not lost, and not in the way of others.
        redis.call('ZADD', KEYS[1], now + 10000, member)
    else
        redis.call('ZREM', KEYS[1], member)
    end
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not first[2] then
    return { #due, -1 }
end
return { #due, math.max(0, tonumber(first[2]) - now) }
