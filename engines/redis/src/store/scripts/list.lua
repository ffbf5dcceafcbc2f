-- Keys of a place in their order, with their records. Looks at some of them: where to go on, and with how many to leave out, is
-- in the answer.
local records, low, high, backwards, suffix = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5]
local skip, want, room, only = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9] == '1'
local AT_ONCE, MOST = 125, 2000
local found, more = {}, 0

local function look(key)
    local name = records .. key
    if skip > 0 or want == 0 or room <= 0 then
        -- What is over is not there.
        if redis.call('EXISTS', name) == 1 then
            if skip > 0 then skip = skip - 1 else more = 1 end
        end
        return
    end
    local record = only and redis.call('GETRANGE', name, 0, 16) or redis.call('GET', name)
    if not record or record == '' then
        return
    end
    local left = string.sub(record, 17, 17) == 't' and redis.call('PTTL', name) or -1
    found[#found + 1] = {key, record, left}
    want, room = want - 1, room - #record
end

for _ = 1, MOST / AT_ONCE do
    local keys
    if backwards then
        keys = redis.call('ZRANGE', KEYS[1], high, low, 'BYLEX', 'REV', 'LIMIT', 0, AT_ONCE)
    else
        keys = redis.call('ZRANGE', KEYS[1], low, high, 'BYLEX', 'LIMIT', 0, AT_ONCE)
    end
    for _, key in ipairs(keys) do
        if suffix == '' or string.sub(key, -#suffix) == suffix then
            look(key)
            if more == 1 then
                return {more, '', skip, found}
            end
        end
    end
    if #keys < AT_ONCE then
        return {more, '', skip, found}
    end
    if backwards then high = '(' .. keys[#keys] else low = '(' .. keys[#keys] end
end
return {more, backwards and high or low, skip, found}
