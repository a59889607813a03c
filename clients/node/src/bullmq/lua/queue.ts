/** Scripts of a whole queue. */

/** '1' or '0'. */
export const PAUSE = `
if ARGV[2] == '1' then
  call('BEAR.PAUSE', space)
  call('HSET', meta, 'paused', 1)
  call('DEL', base .. 'marker')
  tell('paused')
else
  call('BEAR.RESUME', space)
  call('HDEL', meta, 'paused')
  if call('ZCARD', base .. 'wait') + call('ZCARD', base .. 'prioritized') > 0 then wake() else wakeAt() end
  tell('resumed')
end
return 0
`;

/** Fields and values in turn. A concurrency of all workers is bear's limit of the space. */
export const SET_META = `
for at = 2, #ARGV, 2 do
  if ARGV[at] == 'concurrency' then call('BEAR.LIMITQUEUE', space, 'CONCURRENCY', ARGV[at + 1]) end
end
local set = 0
for at = 2, #ARGV, 2 do set = set + call('HSET', meta, ARGV[at], ARGV[at + 1]) end
if call('ZCARD', base .. 'wait') + call('ZCARD', base .. 'prioritized') > 0 then wake() end
return set
`;

export const REMOVE_META = `
for at = 2, #ARGV do
  if ARGV[at] == 'concurrency' and call('HEXISTS', meta, 'concurrency') == 1 then
    call('BEAR.LIMITQUEUE', space, 'CONCURRENCY', 0)
  end
end
local gone = 0
for at = 2, #ARGV do gone = gone + call('HDEL', meta, ARGV[at]) end
wake()
return gone
`;

/** mostStalls, now, interval in ms. Returns the ids of the jobs whose leases have ended since the last check. */
export const STALLED = `
if not call('SET', base .. 'stalled-check', ARGV[3], 'NX', 'PX', ARGV[4]) then return {} end
local stalled = call('LRANGE', base .. 'stalled', 0, -1) -- those that a worker has claimed again before this check
call('DEL', base .. 'stalled')
for _, id in ipairs(call('ZRANGE', base .. 'active', 0, -1)) do
  local known = call('HMGET', job(id), 'bear', 'token')
  if not isHeld(known[1], known[2]) then
    call('ZREM', base .. 'active', id)
    if known[1] then
      call('HDEL', job(id), 'token', 'worker')
      countStall(id, tonumber(ARGV[2]) or 1)
      standAgain(id)
      tell('waiting', 'jobId', id, 'prev', 'active')
      stalled[#stalled + 1] = id
    end
  end
end
return stalled
`;

/** state, count, until. 1: there may be more. */
export const REPROCESS_ALL = `
local state, most = ARGV[2], tonumber(ARGV[3])
local ids = call('ZRANGEBYSCORE', base .. state, 0, ARGV[4], 'LIMIT', 0, most)
for _, id in ipairs(ids) do
  local key = job(id)
  if call('EXISTS', key) == 1 then
    local priority = tonumber(call('HGET', key, 'priority')) or 0
    again(id, priority, false, 0)
    call('ZREM', base .. state, id)
    if state == 'delayed' then call('HSET', key, 'delay', 0)
    else call('HDEL', key, 'finishedOn', 'processedOn', state == 'failed' and 'failedReason' or 'returnvalue') end
    standWaiting(id, priority)
    tell('waiting', 'jobId', id, 'prev', state)
  else
    call('ZREM', base .. state, id)
  end
end
return #ids >= most and 1 or 0
`;

/** state, how many to pass over, how many to look at. {looked at, removed}. */
export const DRAIN = `
local ids = call('ZRANGE', base .. ARGV[2], ARGV[3], ARGV[3] + ARGV[4] - 1)
local removed = 0
for _, id in ipairs(ids) do
  if not isOfScheduler(id) then
    call('ZREM', base .. ARGV[2], id)
    erase(id, false, true)
    removed = removed + 1
  end
end
return { #ids, removed }
`;

/** state, until (Unix ms), how many to pass over, how many to look at, how many to remove. {looked at, removed ids}. */
export const CLEAN = `
local state, upto, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[6])
local isFinished = state == 'completed' or state == 'failed'
local ids
if isFinished then ids = call('ZRANGEBYSCORE', base .. state, '-inf', ARGV[3], 'LIMIT', 0, ARGV[5])
else ids = call('ZRANGE', base .. state, ARGV[4], ARGV[4] + ARGV[5] - 1) end
local cleaned = {}
for _, id in ipairs(ids) do
  if #cleaned >= most then break end
  local known = call('HMGET', job(id), 'finishedOn', 'processedOn', 'timestamp', 'bear', 'token')
  local since = tonumber(known[1] or (state ~= 'prioritized' and known[2]) or known[3])
  local isFree = state ~= 'active' or not isHeld(known[4], known[5])
  if isFree and (isFinished or (not isOfScheduler(id) and (not since or since <= upto))) then
    call('ZREM', base .. state, id)
    erase(id, false, true)
    cleaned[#cleaned + 1] = id
  end
end
return { #ids, cleaned }
`;

/** how many. */
export const CLEANED = `return tell('cleaned', 'count', ARGV[2])`;

/** most, '1': also active ones. 1: there is more; -1: not paused; -2: some are active. */
export const OBLITERATE = `
local left = tonumber(ARGV[2])
if call('HEXISTS', meta, 'paused') == 0 then return -1 end
if ARGV[3] ~= '1' and call('ZCARD', base .. 'active') > 0 then return -2 end
for _, scheduler in ipairs(call('ZRANGE', base .. 'repeat', 0, left - 1)) do
  call('DEL', base .. 'repeat:' .. scheduler)
  call('ZREM', base .. 'repeat', scheduler)
  left = left - 1
end
for _, state in ipairs(STATES) do
  if left <= 0 then return 1 end
  for _, id in ipairs(call('ZRANGE', base .. state, 0, left - 1)) do
    call('ZREM', base .. state, id)
    erase(id, false, true)
    left = left - 1
  end
end
if left <= 0 then return 1 end
-- what other programs have enqueued
for _, state in ipairs({ 'waiting', 'delayed' }) do
  if (ask('BEAR.CLEAN', space, state, 'COUNT', left) or 0) > 0 then return 1 end
end
ask('BEAR.LIMITQUEUE', space, 'DEFAULT')
ask('BEAR.RESUME', space)
call('DEL', meta)
for _, name in ipairs({ 'events', 'id', 'seq', 'first', 'marker', 'limiter', 'stalled', 'stalled-check', 'metrics:completed',
  'metrics:completed:data', 'metrics:failed', 'metrics:failed:data' }) do call('DEL', base .. name) end
return 0
`;

/** Unix ms or '', states: of the delayed ones those that are due before that time. */
export const COUNTS = `
local counts = {}
for at = 3, #ARGV do
  local key = base .. ARGV[at]
  counts[at - 2] = ARGV[at] == 'delayed' and ARGV[2] ~= '' and call('ZCOUNT', key, '-inf', '(' .. whole(tonumber(ARGV[2]) * 4096))
    or call('ZCARD', key)
end
return counts
`;

/** Priorities; 0 is none. */
export const COUNTS_PER_PRIORITY = `
local counts = {}
for at = 2, #ARGV do
  local priority = tonumber(ARGV[at])
  if priority == 0 then counts[at - 1] = call('ZCARD', base .. 'wait')
  else
    counts[at - 1] = call('ZCOUNT', base .. 'prioritized', whole(priority * 4294967296), whole((priority + 1) * 4294967296 - 1))
  end
end
return counts
`;

/** start, end, '1' for ascending, states. */
export const RANGES = `
local ranges = {}
for at = 5, #ARGV do
  ranges[at - 4] = call(ARGV[4] == '1' and 'ZRANGE' or 'ZREVRANGE', base .. ARGV[at], ARGV[2], ARGV[3])
end
return ranges
`;

/** kind, start, end. */
export const METRICS = `
local of = base .. 'metrics:' .. ARGV[2]
return { call('HMGET', of, 'count', 'prevTS', 'prevCount'), call('LRANGE', of .. ':data', ARGV[3], ARGV[4]), call('LLEN', of .. ':data') }
`;

/** most or ''. */
export const LIMIT_TTL = `
local most = tonumber(ARGV[2]) or tonumber(call('HGET', meta, 'max'))
if most then return limitTtl(most) end
return call('PTTL', base .. 'limiter')
`;

/** state, how many to pass over, how many to look at: those go of which bear, or the hash, knows nothing. {looked at, removed}. */
export const ORPHANS = `
local state = ARGV[2]
local isQueued = state ~= 'completed' and state ~= 'failed' and state ~= 'waiting-children'
local ids = call('ZRANGE', base .. state, ARGV[3], ARGV[3] + ARGV[4] - 1)
local removed = 0
for _, id in ipairs(ids) do
  local bear = call('HGET', job(id), 'bear')
  if call('EXISTS', job(id)) == 0 or (isQueued and (not bear or not ask('BEAR.JOB', space, bear))) then
    call('ZREM', base .. state, id)
    erase(id)
    removed = removed + 1
  end
end
return { #ids, removed }
`;
