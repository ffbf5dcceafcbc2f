-- KEYS: set of what is held back, key of the id. ARGV: milliseconds for which an id is remembered or '', when it is due, the message.
if ARGV[1] ~= '' and not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then
    return 0
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
return 1
