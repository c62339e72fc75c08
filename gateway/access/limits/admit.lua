-- Admit one request of a key, or name the limit that refuses it. One atomic step.
--
-- KEYS: window (hash), leases (sorted set), month (hash)
-- ARGV: rpm, tpm, max_parallel, monthly_tokens (empty: no such limit), tokens to reserve,
--       window in µs, lease id, lease in ms, tokens of the month so far (empty: not known to the
--       caller), ms for which that number is good
-- Returns {refusing limit or "", wait in ms (-1: never), requests, tokens, parallel, month, reset
--          in ms, bucket, since}, or {"unknown month"} when that number is needed.
--
-- The window is a list of buckets in a hash: fields head..tail, each "first:last:requests:tokens".
-- A bucket takes the requests of a 60th of the window after its first one and leaves when its last
-- one has left: never early, so no window holds more than the limit.

local window, leases, month = KEYS[1], KEYS[2], KEYS[3]
local rpm, tpm = tonumber(ARGV[1]), tonumber(ARGV[2])
local max_parallel, monthly = tonumber(ARGV[3]), tonumber(ARGV[4])
local need, span = tonumber(ARGV[5]), tonumber(ARGV[6])
local lease, lease_ms = ARGV[7], tonumber(ARGV[8])

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2] -- µs: below 2^53, exact in Lua's doubles
local now_ms = math.floor(now / 1000)

local spent, since = 0, 0
if monthly then
  local known = redis.call('HMGET', month, 'used', 'since')
  if known[1] then
    spent, since = tonumber(known[1]), tonumber(known[2])
  elseif ARGV[9] ~= '' then
    spent, since = tonumber(ARGV[9]), now_ms
    redis.call('HSET', month, 'used', spent, 'since', since)
    redis.call('PEXPIRE', month, ARGV[10])
  else
    return {'unknown month'}
  end
end

local function bucket(place)
  local first, last, requests, tokens =
    string.match(redis.call('HGET', window, place), '(%d+):(%d+):(%d+):(%d+)')
  return {tonumber(first), tonumber(last), tonumber(requests), tonumber(tokens)}
end

-- Places start at the time in ms: one that was forgotten is never used again.
local head, tail, requests, tokens = now_ms, now_ms - 1, 0, 0
local newest
if rpm or tpm then
  local known = redis.call('HMGET', window, 'head', 'tail', 'requests', 'tokens')
  if known[1] then
    head, tail = tonumber(known[1]), tonumber(known[2])
    requests, tokens = tonumber(known[3]), tonumber(known[4])
  end
  local oldest = head
  while head <= tail do
    local old = bucket(head)
    -- More than a window in the future: the clock has been set back.
    if math.abs(now - old[2]) < span then break end
    redis.call('HDEL', window, head)
    head, requests, tokens = head + 1, requests - old[3], tokens - old[4]
  end
  if head > oldest then
    redis.call('HSET', window, 'head', head, 'requests', requests, 'tokens', tokens)
  end
  if head <= tail then newest = bucket(tail) end
end

local parallel = 0
if max_parallel then
  redis.call('ZREMRANGEBYSCORE', leases, '-inf', now_ms)
  parallel = redis.call('ZCARD', leases)
end

-- How long until `excess` of a bucket's 3rd (requests) or 4th (tokens) value have left, in ms.
local function wait_for(value, excess)
  for place = head, tail do
    local old = bucket(place)
    excess = excess - old[value]
    if excess <= 0 then return math.max(1, math.ceil((old[2] + span - now) / 1000)) end
  end
  return math.huge
end

local refusal, wait = '', 0
if monthly and spent + math.max(need, 1) > monthly then
  refusal, wait = 'monthly_tokens', math.huge
elseif tpm and need > tpm then
  refusal, wait = 'too_large', math.huge
else
  if rpm and requests + 1 > rpm then
    refusal, wait = 'rpm', wait_for(3, requests + 1 - rpm)
  end
  if tpm and tokens + need > tpm then
    local longer = wait_for(4, tokens + need - tpm)
    if longer > wait then refusal, wait = 'tpm', longer end
  end
  if max_parallel and parallel >= max_parallel then
    if refusal == '' then refusal = 'max_parallel' end
    wait = math.max(wait, 1000) -- nobody knows when a request ends
  end
end

local reset = 0
if newest then reset = math.ceil((newest[2] + span - now) / 1000) end
if refusal ~= '' then
  if wait == math.huge then wait = -1 end
  return {refusal, wait, requests, tokens, parallel, spent, reset, 0, 0}
end

if rpm or tpm then
  if newest and now - newest[1] < span / 60 then
    newest[2] = math.max(now, newest[2])
    newest[3], newest[4] = newest[3] + 1, newest[4] + need
  else
    tail = tail + 1
    newest = {now, now, 1, need}
  end
  requests, tokens = requests + 1, tokens + need
  redis.call('HSET', window, 'head', head, 'tail', tail, 'requests', requests, 'tokens', tokens,
    tail, string.format('%.0f:%.0f:%.0f:%.0f', unpack(newest)))
  redis.call('PEXPIRE', window, math.ceil(span / 1000))
  reset = math.ceil(span / 1000)
end
if max_parallel then
  redis.call('ZADD', leases, now_ms + lease_ms, lease)
  redis.call('PEXPIRE', leases, lease_ms)
end
if monthly then
  spent = redis.call('HINCRBY', month, 'used', need)
end
return {'', 0, requests, tokens, parallel + 1, spent, reset, tail, since}
