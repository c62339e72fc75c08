-- A request has ended: replace its reservation by what it used, and give its place back.
--
-- KEYS: window, leases, month (as in admit.lua)
-- ARGV: bucket, since (both as admit.lua returned them), lease id, tokens reserved, tokens used

local window, leases, month = KEYS[1], KEYS[2], KEYS[3]
local place, since, lease = ARGV[1], ARGV[2], ARGV[3]
local reserved, used = tonumber(ARGV[4]), tonumber(ARGV[5])

redis.call('ZREM', leases, lease)

local known = redis.call('HGET', window, place)
if known and used ~= reserved then -- otherwise it has left the window, and took its tokens along
  local before, tokens = string.match(known, '(.*:)(%d+)')
  redis.call('HSET', window, place, before .. string.format('%.0f', tokens + used - reserved))
  redis.call('HINCRBY', window, 'tokens', used - reserved)
end

local counted = redis.call('HGET', month, 'since')
if counted == since then
  redis.call('HINCRBY', month, 'used', used - reserved)
elseif counted then -- read again from the database since: the reservation is not part of it
  redis.call('HINCRBY', month, 'used', used)
end
return 1
