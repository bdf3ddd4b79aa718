-- Return what changed since a cursor, as of one moment; writes nothing.
-- KEYS: meta, sums, changed, maxima, maxima-changed, marks. ARGV: epoch and version of the cursor.
local kinds = {'hash', 'hash', 'zset', 'hash', 'zset', 'hash'}
for i, kind in ipairs(kinds) do
  local found = redis.call('TYPE', KEYS[i])['ok']
  if found ~= kind and found ~= 'none' then redis.call('DEL', KEYS[i]) end
end
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
local version = redis.call('HGET', KEYS[1], 'version') or '0'
local since = '-1'
if ARGV[1] == epoch then since = ARGV[2] end
if since == version then return {epoch, version, {}, {}, {}} end

local function changed(index, values)
  local names, found = redis.call('ZRANGEBYSCORE', index, '(' .. since, '+inf'), {}
  for first = 1, #names, 1000 do
    local last = math.min(first + 999, #names)
    local texts = redis.call('HMGET', values, unpack(names, first, last))
    for i = first, last do
      if texts[i - first + 1] then
        found[#found + 1] = names[i]
        found[#found + 1] = texts[i - first + 1]
      end
    end
  end
  return found
end

return {epoch, version, changed(KEYS[3], KEYS[2]), changed(KEYS[5], KEYS[4]), redis.call('HGETALL', KEYS[6])}
