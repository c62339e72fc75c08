-- A worker is alive: prolong all of its leases. Also shows that Redis takes writes.
--
-- KEYS: the workers (sorted set), then the leases (sorted set) of each running request
-- ARGV: lease in ms, the worker's id, then the lease id of each running request
-- Returns how many workers are alive.

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- First what a Redis that is out of memory refuses: behind another write it would not.
redis.call('ZADD', KEYS[1], now_ms + ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
for i = 2, #KEYS do
  -- Added again where Redis has lost it: the request is running.
  redis.call('ZADD', KEYS[i], now_ms + ARGV[1], ARGV[i + 1])
  redis.call('PEXPIRE', KEYS[i], ARGV[1])
end
return redis.call('ZCARD', KEYS[1])
