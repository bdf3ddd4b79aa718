-- Append the booked attempts of one batch, once.
-- KEYS: rows (a stream), marks. ARGV: worker, sequence, seconds to live, rows kept at most, now, then one JSON text a row.
if redis.call('TYPE', KEYS[1])['ok'] ~= 'stream' then redis.call('DEL', KEYS[1]) end
if redis.call('TYPE', KEYS[2])['ok'] ~= 'hash' then redis.call('DEL', KEYS[2]) end
local mark = tonumber(string.match(redis.call('HGET', KEYS[2], ARGV[1]) or '', '^(%d+)')) or -1
if tonumber(ARGV[2]) <= mark then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. ARGV[5])
for i = 6, #ARGV do redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'row', ARGV[i]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
