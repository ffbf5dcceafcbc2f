-- KEYS: stream, stream of dead letters. ARGV: group, consumer, id, attempt, then the fields of the dead letter. Returns 1 if the
-- message still was the consumer's in this attempt.
local one = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not one or one[2] ~= ARGV[2] or one[4] ~= tonumber(ARGV[4]) then
    return 0
end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 5))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 1
