-- KEYS: stream. ARGV: group, consumer, id, attempt. Counts another attempt if it still is the consumer's in this one. Returns 1 if so.
local one = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not one or one[2] ~= ARGV[2] or one[4] ~= tonumber(ARGV[4]) then
    return 0
end
local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3])
return entry[1] and 1 or 0
