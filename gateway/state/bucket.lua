-- Take credit from a shared bucket: the same arithmetic as router_core.limits.take.
-- KEYS: the bucket, a hash of level and at. ARGV: capacity (a minute's worth), need, want, back, seconds to live.
local key, capacity = KEYS[1], tonumber(ARGV[1])
local need, want, back = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
if redis.call('TYPE', key)['ok'] ~= 'hash' then redis.call('DEL', key) end
local level = tonumber(redis.call('HGET', key, 'level') or '')
local at = tonumber(redis.call('HGET', key, 'at') or '')
if level == nil or at == nil then
  level = capacity
else
  level = math.min(capacity, level + math.max(0, now - at) * capacity / 60)
end
level = math.min(capacity, level + back)

local granted, wait = 0, 0
local least = math.min(need, capacity)
if level < least or level <= 0 then
  wait = (math.max(least, 1e-9) - level) * 60 / capacity
else
  granted = math.min(want, level)
  if need > level then granted = need end
  level = level - granted
end
redis.call('HSET', key, 'level', string.format('%.17g', level), 'at', string.format('%.6f', now))
redis.call('EXPIRE', key, ARGV[5])
return {string.format('%.17g', granted), string.format('%.17g', level), string.format('%.17g', wait)}
