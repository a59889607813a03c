/** Scripts of single jobs: added, claimed, ended, put back, changed. */

/** id ('' for the next number), JSON of the id, tail, name, opts, timestamp, delay, priority, lifo, dedup, its id, scheduler, parentKey, parent, waits. */
export const ADD = `
local made = { idJson = ARGV[3] ~= '' and ARGV[3] or nil, tail = ARGV[4], name = ARGV[5], opts = ARGV[6], timestamp = ARGV[7],
  delay = ARGV[8], priority = ARGV[9], lifo = ARGV[10], dedup = ARGV[11], dedupId = ARGV[12], scheduler = ARGV[13], parentKey = ARGV[14], parent = ARGV[15], waits = ARGV[16] }
local id = ARGV[2]
local function exists(of) return call('EXISTS', job(of)) == 1 end
if made.parentKey ~= '' and not within(made.parentKey, exists) then return -5 end
local number = call('INCR', base .. 'id')
if id == '' then
  id = whole(number)
elseif exists(id) then
  local parent = call('HGET', job(id), 'parentKey')
  if made.parentKey ~= '' then
    if parent and parent ~= made.parentKey and within(parent, exists) then return -7 end
    if not parent or parent == made.parentKey then
      local child, key = node(id), job(id)
      local isDone, value = call('ZSCORE', base .. 'completed', id), call('HGET', key, 'returnvalue')
      within(made.parentKey, function(of)
        if isDone then
          call('HSET', job(of) .. ':processed', child, value or 'null')
          if call('SCARD', job(of) .. ':dependencies') == 0 then goOn(of, tonumber(made.timestamp)) end
        else
          call('SADD', job(of) .. ':dependencies', child)
        end
      end)
      call('HSET', key, 'parentKey', made.parentKey, 'parent', made.parent)
    end
  end
  tell('duplicated', 'jobId', id)
  return id
end
local stands = deduplicate(id, made)
if stands then return stands end
store(id, made)
enrol(id, made.parentKey)
return id
`;

/** The same of a job that is of no flow, and without deduplication. */
export const ADD_PLAIN = `
local made = { idJson = ARGV[3] ~= '' and ARGV[3] or nil, tail = ARGV[4], name = ARGV[5], opts = ARGV[6], timestamp = ARGV[7],
  delay = ARGV[8], priority = ARGV[9], lifo = ARGV[10], scheduler = ARGV[13] }
local id = ARGV[2]
local number = call('INCR', base .. 'id')
if id == '' then
  id = whole(number)
elseif call('EXISTS', job(id)) == 1 then
  tell('duplicated', 'jobId', id)
  return id
end
store(id, made)
return id
`;

export const CLAIM = `return claimNext(claimer(2))`;

const FINISH_RELATED = `
if dedup then
  local left = call('PTTL', base .. 'de:' .. dedup)
  if left == 0 or (left == -1 and call('GET', base .. 'de:' .. dedup) == id) then call('DEL', base .. 'de:' .. dedup) end
  addNext(dedup, ARGV[3])
end
if parent then
  if target == 'completed' then tellParent(parent, node(id), value, now)
  else failParent(related[3], node(id), value, now) end
end`;

const FORGET_OLD = `
  local age, most = tonumber(ARGV[9]), tonumber(ARGV[8])
  local function forget(old)
    for _, other in ipairs(old) do
      call('ZREM', base .. target, other)
      erase(other, true)
    end
  end
  if age then forget(call('ZRANGEBYSCORE', base .. target, '-inf', whole(now - age * 1000), 'LIMIT', 0, ARGV[10])) end
  if most and most > 0 then forget(call('ZREVRANGE', base .. target, most, -1)) end`;

/**
 * id, now, target (completed, failed), value (JSON of the result; the reason), token, fetch next, keep count, keep age (s), at most
 * so many removed, attempts, points of metrics, fields (JSON); then what a claim takes.
 */
const finish = (isPlain: boolean) => `
local id, now, target, value, token = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local key = job(id)
if call('EXISTS', key) == 0 then return -1 end
if target == 'completed' then
  if call('SCARD', key .. ':dependencies') > 0 then return -4 end
  if call('ZCARD', key .. ':unsuccessful') > 0 then return -9 end
end
local related = call('HMGET', key, 'dedup', 'parentKey', 'parent')
local dedup, parent = related[1], related[2]
${isPlain ? "if dedup or parent then return -100 end" : ""}
local refused, bear, claimToken = refusal(id, token)
if refused then return refused end
if not call('ZSCORE', base .. 'active', id) then return -3 end
local keeps = tonumber(ARGV[8]) ~= 0
local payload = keeps and payloadOf(id)
if bear and claimToken then
  local settled, lost
  if target == 'completed' then
    if #value <= 65536 then settled, lost = ask('BEAR.ACK', space, bear, claimToken, 'RESULT', value) end
    if not settled and not (lost and lost:find('LOST', 1, true)) then
      settled, lost = ask('BEAR.ACK', space, bear, claimToken)
    end
  else
    settled, lost = ask('BEAR.FAIL', space, bear, claimToken, value, 'FINAL')
  end
  if not settled then
    if token ~= '0' then return -2 end
    ask('BEAR.REMOVE', space, bear)
  end
end
setFields(id, ARGV[13])
call('ZREM', base .. 'active', id)
${isPlain ? "" : FINISH_RELATED}
local made = call('HINCRBY', key, 'made', 1)
local property = target == 'completed' and 'returnvalue' or 'failedReason'
if keeps then
  call('ZADD', base .. target, now, id)
  call('HSET', key, property, value, 'finishedOn', whole(now), 'payload', payload or '')
  call('HDEL', key, 'bear', 'token', 'worker', 'deferred', 'place')
${isPlain ? "" : FORGET_OLD}
else
${isPlain ? "  call('DEL', key, key .. ':logs', key .. ':processed', key .. ':failed')" : "  call('HDEL', key, 'bear')\n  erase(id, true)"}
end
tell(target, 'jobId', id, property, value, 'prev', 'active')
if target == 'failed' and made >= (tonumber(ARGV[11]) or 0) then
  tell('retries-exhausted', 'jobId', id, 'attemptsMade', made)
end

local points = tonumber(ARGV[12])
if points then
  local of = base .. 'metrics:' .. target
  local count = call('HINCRBY', of, 'count', 1) - 1
  local last = call('HMGET', of, 'prevTS', 'prevCount')
  if not last[1] then
    call('HSET', of, 'prevTS', whole(now), 'prevCount', 0)
  else
    local minutes = math.min(math.floor(now / 60000) - math.floor(tonumber(last[1]) / 60000), points)
    if minutes > 0 then
      call('LPUSH', of .. ':data', count - tonumber(last[2]))
      for _ = 2, minutes do call('LPUSH', of .. ':data', 0) end
      call('LTRIM', of .. ':data', 0, points - 1)
      call('HSET', of, 'prevTS', whole(now), 'prevCount', count)
    end
  end
end

if ARGV[7] == '1' then
  local claimed = claimNext(claimer(14))
  if claimed[2] ~= '' or claimed[3] > 0 or claimed[4] > 0 then return claimed end
else
  wake() -- as many may be active as before: one of those that wait for that may go on
end
if call('ZCARD', base .. 'wait') == 0 and call('ZCARD', base .. 'active') == 0 and call('ZCARD', base .. 'prioritized') == 0 then
  tell('drained')
end
return 0
`;

export const FINISH = finish(false);

/** The same of a job that is of no flow and has no deduplication, where no others are forgotten for it; -100 where it is not so. */
export const FINISH_PLAIN = finish(true);

/** id, now, token, lifo, fields: back to the end, or first. */
export const RETRY = `
local id, now, token = ARGV[2], tonumber(ARGV[3]), ARGV[4]
promoteDue(now)
local key = job(id)
if call('EXISTS', key) == 0 then return -1 end
local refused = refusal(id, token)
if refused then return refused end
if not call('ZSCORE', base .. 'active', id) then return -3 end
local priority = tonumber(call('HGET', key, 'priority')) or 0
if not again(id, priority, ARGV[5] == '1', 0) then return -2 end
setFields(id, ARGV[6])
call('ZREM', base .. 'active', id)
call('HINCRBY', key, 'made', 1)
standWaiting(id, priority, ARGV[5] == '1')
tell('waiting', 'jobId', id, 'prev', 'active')
return 0
`;

/** id, now, token, delay, whether the attempt counts, fields, fetch next; then what a claim takes. */
export const DELAY = `
local id, now, token, delay = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local key = job(id)
if call('EXISTS', key) == 0 then return -1 end
local refused = refusal(id, token)
if refused then return refused end
if not call('ZSCORE', base .. 'active', id) then return -3 end
if not again(id, tonumber(call('HGET', key, 'priority')) or 0, false, delay) then return -2 end
setFields(id, ARGV[7])
call('ZREM', base .. 'active', id)
if ARGV[6] == '1' then call('HINCRBY', key, 'made', 1) end
call('HSET', key, 'delay', whole(delay))
local due = now + math.max(delay, 0)
standDelayed(id, due)
tell('delayed', 'jobId', id, 'delay', whole(due))
if ARGV[8] == '1' then
  local claimed = claimNext(claimer(9))
  if claimed[2] ~= '' then return claimed end
end
wakeAt()
return 0
`;

/** id, token: back to its place, and no attempt counts. Returns the ms of the rate limit. */
export const RELEASE = `
local id, token = ARGV[2], ARGV[3]
local key = job(id)
if call('EXISTS', key) == 0 then return -1 end
local refused, bear, claimToken = refusal(id, token)
if refused then return refused end
if call('ZSCORE', base .. 'active', id) then
  if bear and claimToken and isHeld(bear, claimToken) then
    local released, why = ask('BEAR.RELEASE', space, bear, claimToken)
    if not released then error({ err = why }) end
  end
  call('HDEL', key, 'token', 'worker')
  call('ZREM', base .. 'active', id)
  standAgain(id)
  tell('waiting', 'jobId', id, 'prev', 'active')
end
local left = call('PTTL', base .. 'limiter')
return left > 0 and left or 0
`;

/** id, state, lifo, reset attempts made, reset attempts started: a finished job once more. */
export const REPROCESS = `
local id, state = ARGV[2], ARGV[3]
local key = job(id)
if call('EXISTS', key) == 0 then return -1 end
if not call('ZSCORE', base .. state, id) then return -3 end
if not again(id, 0, ARGV[4] == '1', 0) then return -3 end
call('ZREM', base .. state, id)
call('HDEL', key, 'finishedOn', 'processedOn', state == 'failed' and 'failedReason' or 'returnvalue')
if ARGV[5] == '1' then call('HDEL', key, 'made') end
if ARGV[6] == '1' then call('HDEL', key, 'started') end
standWaiting(id, 0, ARGV[4] == '1')
local parent = call('HGET', key, 'parentKey')
if parent then
  local child = node(id)
  within(parent, function(of)
    local of = job(of)
    if call('EXISTS', of) == 1 and call('HDEL', of .. ':processed', child) + call('HDEL', of .. ':failed', child)
      + call('ZREM', of .. ':unsuccessful', child) > 0 then call('SADD', of .. ':dependencies', child) end
  end)
end
tell('waiting', 'jobId', id, 'prev', state)
return 1
`;

/** id: a delayed job takes its place now, at the end. */
export const PROMOTE = `
local id = ARGV[2]
if not call('ZSCORE', base .. 'delayed', id) then return -3 end
local priority = tonumber(call('HGET', job(id), 'priority')) or 0
again(id, priority, false, 0)
call('ZREM', base .. 'delayed', id)
call('HSET', job(id), 'delay', 0)
standWaiting(id, priority)
tell('waiting', 'jobId', id, 'prev', 'delayed')
return 0
`;

/** id, now, delay. */
export const CHANGE_DELAY = `
local id, delay = ARGV[2], tonumber(ARGV[4])
local key = job(id)
if call('EXISTS', key) == 0 then return -1 end
if not call('ZSCORE', base .. 'delayed', id) then return -3 end
again(id, tonumber(call('HGET', key, 'priority')) or 0, false, delay)
call('ZREM', base .. 'delayed', id)
local due = tonumber(ARGV[3]) + math.max(delay, 0)
standDelayed(id, due)
call('HSET', key, 'delay', whole(delay))
tell('delayed', 'jobId', id, 'delay', whole(due))
wakeAt()
return 0
`;

/** id, priority, lifo. */
export const CHANGE_PRIORITY = `
local id, priority, isFirst = ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local key = job(id)
if call('EXISTS', key) == 0 then return -1 end
local stands = stateOf(id)
if stands == 'wait' or stands == 'prioritized' then
  again(id, priority, isFirst, 0)
  call('ZREM', base .. stands, id)
  standWaiting(id, priority, isFirst)
elseif stands == 'delayed' then
  local due = math.floor(tonumber(call('ZSCORE', base .. 'delayed', id)) / 4096)
  again(id, priority, false, math.max(due - tonumber(ARGV[5]), 0))
end
call('HSET', key, 'priority', whole(priority))
return 0
`;

/** id, '1': its children, too. 0: a worker holds it, or one of them. */
export const REMOVE = `
local id = ARGV[2]
if isOfScheduler(id) then return -8 end
if isLocked(id, ARGV[3] == '1') then return 0 end
removeTree(id, nil, { children = ARGV[3] == '1' })
return 1
`;

/** id: its children that have not ended and that nobody holds. */
export const REMOVE_CHILDREN = `
removeChildren(ARGV[2], { children = true, keepsProcessed = true, keepsLocked = true })
return 0
`;

/** id, token, now, child or '': it waits for that child, or for any. 0: it does; 1: that one has ended. */
export const WAIT_FOR_CHILDREN = `
local id, token = ARGV[2], ARGV[3]
local key = job(id)
if call('EXISTS', key) == 0 then return -1 end
if call('ZCARD', key .. ':unsuccessful') > 0 then return -9 end
if ARGV[5] ~= '' then
  if call('SISMEMBER', key .. ':dependencies', ARGV[5]) == 0 then return 1 end
elseif call('SCARD', key .. ':dependencies') == 0 then
  return 1
end
local refused, bear, claimToken = refusal(id, token)
if refused then return refused end
if not call('ZSCORE', base .. 'active', id) then return -3 end
call('HSET', key, 'payload', payloadOf(id))
if bear then
  if claimToken then ask('BEAR.RELEASE', space, bear, claimToken) end
  ask('BEAR.REMOVE', space, bear)
end
call('HDEL', key, 'bear', 'token', 'worker')
call('ZREM', base .. 'active', id)
call('ZADD', base .. 'waiting-children', ARGV[4], id)
tell('waiting-children', 'jobId', id, 'prev', 'active')
wake()
return 0
`;

/** id, name of the parent. 0: it waits for it no more; 1: it did not. */
export const DETACH = `
local id = ARGV[2]
if call('EXISTS', job(id)) == 0 then return -1 end
if not within(ARGV[3], function(of) return call('EXISTS', job(of)) == 1 end) then return -5 end
if not detach(id, false, ARGV[3]) then return 1 end
call('HDEL', job(id), 'parentKey', 'parent')
return 0
`;

/** id, kinds. */
export const CHILD_COUNTS = `
local key, counts = job(ARGV[2]), {}
for at = 3, #ARGV do
  local kind = ARGV[at]
  counts[at - 2] = kind == 'processed' and call('HLEN', key .. ':processed') or kind == 'unprocessed' and call('SCARD', key .. ':dependencies')
    or kind == 'ignored' and call('HLEN', key .. ':failed') or call('ZCARD', key .. ':unsuccessful')
end
return counts
`;

/** id, 'processed' or 'dependencies', start, end. {total, names, values, {fields, payload} of each or false}. */
export const CHILDREN = `
local key = job(ARGV[2]) .. ':' .. ARGV[3]
local isHash = ARGV[3] == 'processed'
local all = call(isHash and 'HKEYS' or 'SMEMBERS', key)
table.sort(all)
local from, to = tonumber(ARGV[4]), tonumber(ARGV[5])
if to < 0 then to = #all + to end
local names, values, jobs = {}, {}, {}
for at = from + 1, math.min(to + 1, #all) do
  local name = all[at]
  names[#names + 1] = name
  values[#values + 1] = isHash and call('HGET', key, name) or ''
  jobs[#jobs + 1] = within(name, function(id)
    local fields = call('HGETALL', job(id))
    return #fields > 0 and { fields, payloadOf(id) or '' }
  end)
end
return { #all, names, values, jobs }
`;

/** id, JSON of the data, tail of the payload. */
export const UPDATE = `
local id = ARGV[2]
local key = job(id)
if call('EXISTS', key) == 0 then return -1 end
local known = call('HMGET', key, 'bear', 'foreign', 'name')
local payload = known[2] and ARGV[3] or '{"id":' .. jsonOf(id) .. ',"name":' .. ARGV[4] .. ',"data":' .. ARGV[3] .. '}'
-- bear changes no payload of a claimed or settled job: of those it stands in the hash, and goes into bear's queue with the next attempt
if known[1] and ask('BEAR.UPDATE', space, known[1], payload) then call('HDEL', key, 'payload')
else call('HSET', key, 'payload', payload) end
return 0
`;

/** id, JSON. */
export const PROGRESS = `
local id = ARGV[2]
if call('EXISTS', job(id)) == 0 then return -1 end
local known = call('HMGET', job(id), 'bear', 'token')
if known[1] and known[2] and #ARGV[3] <= 4096 then ask('BEAR.EXTEND', space, known[1], known[2], 'PROGRESS', ARGV[3]) end
call('HSET', job(id), 'progress', ARGV[3])
tell('progress', 'jobId', id, 'data', ARGV[3])
return 0
`;

/** id, line, lines kept or ''. Returns how many there are. */
export const ADD_LOG = `
if call('EXISTS', job(ARGV[2])) == 0 then return -1 end
local key = job(ARGV[2]) .. ':logs'
local count = call('RPUSH', key, ARGV[3])
local most = tonumber(ARGV[4])
if most and most > 0 then
  call('LTRIM', key, -most, -1)
  return math.min(most, count)
end
return count
`;

/** ms, then id and token in turn. Returns the ids of which the claim could not be extended. */
export const EXTEND = `
local failed = {}
for at = 3, #ARGV, 2 do
  local id, token = ARGV[at], ARGV[at + 1]
  local known = call('HMGET', job(id), 'bear', 'token', 'worker')
  local left
  if known[1] and known[2] and known[3] == token then
    left = ask('BEAR.EXTEND', space, known[1], known[2], 'LEASE', ARGV[2])
  end
  if not left then failed[#failed + 1] = id end
end
return failed
`;

/** id. {fields, payload}. */
export const GET = `
local fields = call('HGETALL', job(ARGV[2]))
if #fields == 0 then return false end
return { fields, payloadOf(ARGV[2]) or '' }
`;

/** id. */
export const STATE = `return stateOf(ARGV[2]) or 'unknown'`;

/** id. {0 not finished, 1 completed, 2 failed, -1 unknown; result or reason}. */
export const OUTCOME = `
local id = ARGV[2]
if call('EXISTS', job(id)) == 0 then return { -1, '' } end
if call('ZSCORE', base .. 'completed', id) then return { 1, call('HGET', job(id), 'returnvalue') or 'null' } end
if call('ZSCORE', base .. 'failed', id) then return { 2, call('HGET', job(id), 'failedReason') or '' } end
return { 0, '' }
`;

/** dedup id, id. */
export const FREE_DEDUP = `
if call('GET', base .. 'de:' .. ARGV[2]) == ARGV[3] then return call('DEL', base .. 'de:' .. ARGV[2]) end
return 0
`;
