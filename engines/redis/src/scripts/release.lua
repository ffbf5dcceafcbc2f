-- KEYS: stream. ARGV: group, consumer, lease, then id and attempt of each. Lets others have what still is the consumer's. What was
-- not handled is no attempt.
for at = 4, #ARGV, 2 do
    local one = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1)[1]
    if one and one[2] == ARGV[2] then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'IDLE', ARGV[3], 'RETRYCOUNT', ARGV[at + 1], 'JUSTID')
    end
end
return 1
