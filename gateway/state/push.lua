-- Add one batch of a worker to the learned sums, once.
-- KEYS: meta, sums, changed, maxima, maxima-changed, marks. All carry one hash tag, so one cluster node has them all.
-- ARGV: worker, sequence, epoch for a new memory, seconds to live, now, sums (JSON), maxima (JSON), marks (JSON).
-- A series is stored as lines: name, value, name, value. Values carry 17 digits: a double comes back as it was.
local kinds = {'hash', 'hash', 'zset', 'hash', 'zset', 'hash'}
for i, kind in ipairs(kinds) do
  local found = redis.call('TYPE', KEYS[i])['ok']
  if found ~= kind and found ~= 'none' then redis.call('DEL', KEYS[i]) end
end
if not redis.call('HGET', KEYS[1], 'epoch') then
  -- A memory without a name is no memory: what is left of an older one must not be added to.
  redis.call('DEL', unpack(KEYS))
  redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'version', 0)
end

local function sequence_of(text) return tonumber(string.match(text or '', '^(%d+)')) or -1 end
local function mark(worker, sequence)
  if sequence > sequence_of(redis.call('HGET', KEYS[6], worker)) then
    redis.call('HSET', KEYS[6], worker, string.format('%.0f %s', sequence, ARGV[5]))
    return true
  end
  return false
end

if not mark(ARGV[1], tonumber(ARGV[2])) then return 0 end
for worker, sequence in pairs(cjson.decode(ARGV[8])) do mark(worker, sequence) end
local version = redis.call('HINCRBY', KEYS[1], 'version', 1)

for series, fields in pairs(cjson.decode(ARGV[6])) do
  local order, total = {}, {}
  for name, value in string.gmatch(redis.call('HGET', KEYS[2], series) or '', '([^\n]*)\n([^\n]*)\n') do
    if tonumber(value) then order[#order + 1] = name; total[name] = tonumber(value) end
  end
  for name, value in pairs(fields) do
    local sum = (total[name] or 0) + value
    if sum == sum and sum ~= math.huge and sum ~= -math.huge then
      if total[name] == nil then order[#order + 1] = name end
      total[name] = sum
    end
  end
  local lines = {}
  for i, name in ipairs(order) do lines[i] = name .. '\n' .. string.format('%.17g', total[name]) .. '\n' end
  redis.call('HSET', KEYS[2], series, table.concat(lines))
  redis.call('ZADD', KEYS[3], version, series)
end
for key, value in pairs(cjson.decode(ARGV[7])) do
  local old = tonumber(redis.call('HGET', KEYS[4], key) or '')
  if old == nil or value > old then
    redis.call('HSET', KEYS[4], key, string.format('%.17g', value))
    redis.call('ZADD', KEYS[5], version, key)
  end
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[4]) end
return 1
