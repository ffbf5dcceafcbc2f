-- Begins versions again unless it is still the same run of the server: what an earlier one gave may be lost.
if redis.call('GET', base .. 'run') ~= ARGV[3] then
    begin(version)
    redis.call('SET', base .. 'run', ARGV[3])
end
return string.format('%.0f', version)
