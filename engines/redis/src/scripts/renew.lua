-- KEYS: stream. ARGV: group, consumer, ids. Begins the lease of each anew that still is the consumer's. Returns how many were.
local renewed = 0
for at = 3, #ARGV do
    local one = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1)[1]
    if one and one[2] == ARGV[2] then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID')
        renewed = renewed + 1
    end
end
return renewed
