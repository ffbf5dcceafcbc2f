-- KEYS: stream, key of the id. ARGV: milliseconds for which an id is remembered or '', then the fields.
if ARGV[1] ~= '' and not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then
    return 0
end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
return 1
