-- A worker is alive: prolong all of its leases. Also shows that Redis takes writes.
--
-- KEYS: a key to write to, then the leases (sorted set) of each running request
-- ARGV: lease in ms, then the lease id of each running request

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('SET', KEYS[1], now_ms, 'PX', ARGV[1])
for i = 2, #KEYS do
  -- Added again where Redis has lost it: the request is running.
  redis.call('ZADD', KEYS[i], now_ms + ARGV[1], ARGV[i])
  redis.call('PEXPIRE', KEYS[i], ARGV[1])
end
return 1
