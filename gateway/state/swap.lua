-- Write a document only if it still is what the writer read.
-- KEYS: the document, the kind's index, the kind's list of what has no expiry; all carry the kind's hash tag.
-- ARGV: 1 when a document is expected and 0 when none is, the expected bytes, the new ones, milliseconds to live, id,
--       1 when it has no expiry, seconds to live of index and list.
local kinds = {'string', 'zset', 'set'}
for i, kind in ipairs(kinds) do
  local found = redis.call('TYPE', KEYS[i])['ok']
  if found ~= kind and found ~= 'none' then redis.call('DEL', KEYS[i]) end
end
local there = redis.call('GET', KEYS[1])
if ARGV[1] == '1' then
  if there ~= ARGV[2] then return 0 end
elseif there then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
redis.call('ZADD', KEYS[2], 0, ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[7])
if ARGV[6] == '1' then
  redis.call('SADD', KEYS[3], ARGV[5])
  redis.call('EXPIRE', KEYS[3], ARGV[7])
else
  redis.call('SREM', KEYS[3], ARGV[5])
end
return 1
