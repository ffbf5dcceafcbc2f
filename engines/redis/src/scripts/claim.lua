-- KEYS: stream. ARGV: group, consumer, lease of consumers whose name says none, how many, attempts there may be.
-- Claims what its consumers have let go, by the lease at the end of each one's name. Returns id, attempt and fields of each; the
-- attempt is negative for one that was delivered too often, and says how often that was.
local claimed, start, left = {}, '-', tonumber(ARGV[4])
while left > 0 do
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', 100, start, '+', 256)
    for _, one in ipairs(pending) do
        local id, owner, idle, count = one[1], one[2], one[3], one[4]
        local lease = tonumber(string.match(owner, ':(%d+)$') or ARGV[3])
        if left > 0 and idle >= lease then
            local entry, attempt
            if count >= tonumber(ARGV[5]) then
                entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', count)
                attempt = -count
            else
                entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id)
                attempt = count + 1
            end
            if entry[1] and entry[1][2] then
                claimed[#claimed + 1] = { id, attempt, entry[1][2] }
                left = left - 1
            end
        end
    end
    if #pending < 256 then
        break
    end
    start = '(' .. pending[#pending][1]
end
return claimed
