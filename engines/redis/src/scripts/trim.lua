-- KEYS: stream. ARGV: milliseconds that are kept, messages that are kept or 0, milliseconds after which a silent consumer is forgotten.
-- Removes what need not be kept, of what is too many at most 1000 at a time, and nothing that a group has not acknowledged. Returns
-- how many.
if redis.call('TYPE', KEYS[1]).ok ~= 'stream' then
    return 0
end
local function less(a, b)
    local am, as = string.match(a, '^(%d+)-(%d+)$')
    local bm, bs = string.match(b, '^(%d+)-(%d+)$')
    am, as, bm, bs = tonumber(am), tonumber(as), tonumber(bm), tonumber(bs)
    return am < bm or (am == bm and as < bs)
end
local time = redis.call('TIME')
local bound = string.format('%.0f-0', math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]))
local excess = tonumber(ARGV[2]) > 0 and redis.call('XLEN', KEYS[1]) - ARGV[2] or 0
if excess > 0 then
    local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(excess, 1000) + 1)
    local last = first[#first][1]
    if less(bound, last) then
        bound = last
    end
end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local name, delivered
    for at = 1, #group, 2 do
        if group[at] == 'name' then name = group[at + 1] end
        if group[at] == 'last-delivered-id' then delivered = group[at + 1] end
    end
    local pending = redis.call('XPENDING', KEYS[1], name)
    local oldest = pending[1] > 0 and pending[2] or delivered
    if less(oldest, bound) then
        bound = oldest
    end
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], name)) do
        local who, holds, idle
        for at = 1, #consumer, 2 do
            if consumer[at] == 'name' then who = consumer[at + 1] end
            if consumer[at] == 'pending' then holds = consumer[at + 1] end
            if consumer[at] == 'idle' then idle = consumer[at + 1] end
        end
        if holds == 0 and idle > tonumber(ARGV[3]) and string.match(who, '^micro%-.*:%d+$') then
            redis.call('XGROUP', 'DELCONSUMER', KEYS[1], name, who)
        end
    end
end
return redis.call('XTRIM', KEYS[1], 'MINID', bound)
