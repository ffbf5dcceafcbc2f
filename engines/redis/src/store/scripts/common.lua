-- Keys: the last version, the changes, the ends of records, and places with records. What else there is has `base` before it.
local base, history = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local version = redis.call('GET', KEYS[1])

local function tell(kind, name, text)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', history, string.format('%.0f-0', version), kind, name, 'text', text)
end

-- Versions begin again above all that were given, as long as those were less than a million a second.
local function begin(before)
    version = math.max(before + 1, time[1] * 1000000 + time[2])
    tell('begin', '', string.format('%.0f', before))
    redis.call('SET', KEYS[1], string.format('%.0f', version))
end

local function note(kind, name, text)
    version = version + 1
    tell(kind, name, text)
    return string.format('%.0f', version)
end

local function remove(place, key)
    local name = place .. '/' .. key
    redis.call('DEL', base .. 'record:' .. name)
    redis.call('ZREM', KEYS[3], name)
    redis.call('ZREM', base .. 'keys:' .. place, key)
    if redis.call('EXISTS', base .. 'keys:' .. place) == 0 then
        redis.call('ZREM', KEYS[4], place)
    end
    return note('delete', name, '')
end

-- Removes what is over, some of it.
local function sweep(most)
    local over = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('(%.0f', now), 'LIMIT', 0, most)
    for _, name in ipairs(over) do
        local place, key = string.match(name, '^([^/]*/[^/]*)/(.*)$')
        remove(place, key)
    end
    return #over
end

if version then
    version = tonumber(version)
else
    begin(0)
end
