-- Judge one holder's report and wish against an account: the same arithmetic as router_core.budget.grant.
-- KEYS: the account, a hash from holder to "granted spent sequence expires".
-- ARGV: holder, sequence, limit, spent, floor, need, want, lease seconds, keep seconds, forgive (0/1), rows kept apart,
--       seconds a silent holder keeps its row.
-- The server's own clock is used: all holders are judged by one.
local key, holder = KEYS[1], ARGV[1]
local sequence, limit, spent, floor = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local need, want, forgive = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[10] == '1'
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
if redis.call('TYPE', key)['ok'] ~= 'hash' then redis.call('DEL', key) end

local function write(name, granted, its_spent, its_sequence, expires)
  redis.call('HSET', key, name, string.format('%.0f %.0f %.0f %.6f', granted, its_spent, its_sequence, expires))
end

local rows, count = {}, 0
local flat = redis.call('HGETALL', key)
for i = 1, #flat, 2 do
  local g, s, q, e = string.match(flat[i + 1], '^(%d+) (%d+) (%d+) (%-?[%d.]+)$')
  if g then
    rows[flat[i]] = {tonumber(g), tonumber(s), tonumber(q), tonumber(e)}
    count = count + 1
  else
    redis.call('HDEL', key, flat[i])
  end
end

if count > tonumber(ARGV[11]) then
  local folded = 0
  for name, row in pairs(rows) do
    if name == '' or row[4] <= now - tonumber(ARGV[12]) or (forgive and row[4] <= now) then
      folded = folded + row[1]
      redis.call('HDEL', key, name)
      rows[name] = nil
    end
  end
  if folded > 0 and not forgive then
    rows[''] = {folded, folded, 0, 0}
    write('', folded, folded, 0, 0)
  end
end

local committed, all_spent, holders = 0, 0, 1
for name, row in pairs(rows) do
  if name ~= holder then
    local alive = row[4] > now
    if alive or not forgive then
      committed = committed + row[1]
      all_spent = all_spent + (alive and row[2] or row[1])
    end
    if alive then holders = holders + 1 end
  end
end

local mine = rows[holder]
if mine == nil or sequence > mine[3] then
  local best = math.min(floor + want, limit - committed)
  local granted = floor
  if best >= floor + need then granted = best end
  mine = {granted, spent, sequence}
  write(holder, granted, spent, sequence, now + tonumber(ARGV[8]))
end
redis.call('EXPIRE', key, ARGV[9])
return {
  string.format('%.0f', mine[1]), string.format('%.0f', all_spent + mine[2]),
  string.format('%.0f', committed + mine[1]), string.format('%.0f', holders)
}
