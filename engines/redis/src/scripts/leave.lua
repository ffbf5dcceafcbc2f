-- KEYS: stream. ARGV: group, consumer. Forgets a consumer that holds nothing: with one that does, what it holds would be lost.
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    return 1
end
return 0
