/**
 * What the scripts share. Each script is this text and its own, sent as one: a unit to clients, the AOF and replicas.
 *
 * KEYS[1] is the space, `{queue}:section`, the one key that bear's commands know; KEYS[2] the hash of the queue's settings, of
 * which the other keys differ by their last word; ARGV[1] is what they begin with. All of them are in the slot of `{queue}`.
 *
 * ```text
 * {queue}:section:queue:…      bear's: the jobs that wait, are delayed or claimed, with their payloads, leases, tokens
 * bmq:{queue}:section:job:5    a job's options, counters and outcome; `bear` is the id of its job in bear's queue, `token` and
 *                              `worker` are of the claim. Of a finished job this is all that there is
 * bmq:{queue}:section:wait …   where jobs stand, for getters: sorted sets of ids
 * ```
 *
 * Who is next, who holds a job and for how long is bear's to say. Where both could contradict each other (a lease that has
 * ended, a delay that is over by the server's clock) a script that meets it believes bear.
 *
 * A command of bear's may be refused (FULL, OOM, NOWAIT while a queue is read after a start), and Redis takes nothing back of a
 * script that fails. So the command that may be refused comes first.
 */
export const COMMON = `
local space, meta, base = KEYS[1], KEYS[2], ARGV[1]
local call = redis.call

local function job(id) return base .. 'job:' .. id end
local function whole(number) return string.format('%.0f', number) end

local function jsonOf(text)
  return text:match('^[%w_:. -]*$') and '"' .. text .. '"' or cjson.encode(text)
end

-- Runs a command that may be refused. Returns its reply, or nil and the error.
local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    if reply.err:find('NOWAIT', 1, true) then error(reply) end
    return nil, reply.err
  end
  return reply
end

local function pairsOf(flat)
  local map = {}
  for at = 1, #flat, 2 do map[flat[at]] = flat[at + 1] end
  return map
end

local longest
local function tell(...)
  if not longest then longest = call('HGET', meta, 'opts.maxLenEvents') or '10000' end
  return call('XADD', base .. 'events', 'MAXLEN', '~', longest, '*', 'event', ...)
end

-- Whether nothing may begin now: all is paused, or as many jobs are active as may be.
local function isHalted()
  local settings = call('HMGET', meta, 'paused', 'concurrency')
  if settings[1] then return true end
  local most = tonumber(settings[2])
  return most and call('ZCARD', base .. 'active') >= most
end

-- Wakes one worker that waits.
local function wake()
  if not isHalted() then call('ZADD', base .. 'marker', 0, '0') end
end

local function nextDue()
  local first = call('ZRANGE', base .. 'delayed', 0, 0, 'WITHSCORES')
  return first[2] and math.floor(tonumber(first[2]) / 4096)
end

-- Wakes one worker, to be told until when it may sleep.
local function wakeAt()
  local due = nextDue()
  if due then call('ZADD', base .. 'marker', due, '1') end
end

-- ---- jobs in bear's queue ----

-- 512 for each of the 2,097,152 priorities, of which 1 is the first; jobs without one come before all these; those that are
-- last in and first out come before them, the last of them first.
local PLAIN = 2097153 * 512

local function rank(priority, isFirst)
  if priority > 0 then
    local of = (2097153 - priority) * 512
    return isFirst and of + 1 + call('INCR', base .. 'first') % 511 or of
  end
  return isFirst and PLAIN + 1 + call('INCR', base .. 'first') or PLAIN
end

local function typeOf(name)
  if #name <= 128 and name:match('^%w[%w_.:-]*$') then return name end
  return 'job'
end

-- Puts a job into bear's queue. Returns bear's id of it.
local function enqueue(name, payload, priority, isFirst, delay)
  local words = { 'BEAR.ENQUEUE', space, typeOf(name), payload, 'ATTEMPTS', '100', 'PRIORITY', whole(rank(priority, isFirst)) }
  if delay > 0 then
    words[#words + 1] = 'DELAY'
    words[#words + 1] = whole(math.min(delay, 31536000000)) -- bear's longest; what is longer is put off again
  end
  local id, refused = ask(unpack(words))
  if not id then error({ err = refused }) end
  return id
end

-- The payload as bear has it: {"id":…,"name":…,"data":…}, or anything where another program has enqueued it.
local function payloadOf(id)
  local known = call('HMGET', job(id), 'payload', 'bear')
  if known[1] then return known[1] end
  if not known[2] then return nil end
  local found = ask('BEAR.JOB', space, known[2])
  return found and pairsOf(found).data
end

-- Whether the claim of a job stands. bear's hash of the claims is read: BEAR.JOB would send the payload, too.
local function isHeld(bear, token)
  if not bear or not token then return false end
  local claim = call('HGET', space .. ':queue:work:claims', bear)
  return claim and claim:find('"token":' .. token .. '[,}]') ~= nil
end

-- The id of a job by its payload.
local function idOf(payload)
  local id = payload:match('^{"id":"([^"\\\\]*)"')
  if id then return id end
  local isJson, value = pcall(cjson.decode, payload)
  if isJson and type(value) == 'table' and type(value.id) == 'string' then return value.id end
end

-- ---- where jobs stand ----

local function standWaiting(id, priority, isFirst)
  local at = call('INCR', base .. 'seq')
  if priority > 0 then
    local middle, by = priority * 4294967296 + 2147483648, at % 2147483648
    call('ZADD', base .. 'prioritized', whole(isFirst and middle - by or middle + by), id)
  else
    call('ZADD', base .. 'wait', whole(isFirst and -at or at), id)
  end
  wake()
end

-- A job that bear has given back stands where it stood before it was claimed.
local function standAgain(id)
  local known = call('HMGET', job(id), 'place', 'priority')
  local state, place = (known[1] or ''):match('^(%a+):(.*)$')
  if not state then return standWaiting(id, tonumber(known[2]) or 0, true) end
  call('ZADD', base .. state, place, id)
  wake()
end

-- Up to 4,096 jobs that are due in one millisecond keep their order.
local function standDelayed(id, due)
  local low = due * 4096
  local last = call('ZREVRANGEBYSCORE', base .. 'delayed', whole(low + 4095), whole(low), 'WITHSCORES', 'LIMIT', 0, 1)
  local score = last[2] and math.min(tonumber(last[2]) + 1, low + 4095) or low
  call('ZADD', base .. 'delayed', whole(score), id)
end

local STATES = { 'completed', 'waiting-children', 'delayed', 'failed', 'prioritized', 'wait', 'active' }

local function stateOf(id)
  for _, state in ipairs(STATES) do
    if call('ZSCORE', base .. state, id) then return state end
  end
end

local function leave(id)
  for _, state in ipairs(STATES) do
    if call('ZREM', base .. state, id) == 1 then return state end
  end
  return 'unknown'
end

-- Puts an active, waiting or delayed job into bear's queue anew, at the end of its priority, with a delay, or first. The new
-- one comes before the old one goes: if bear refuses it nothing has changed. False: its claim was lost meanwhile.
local function again(id, priority, isFirst, delay)
  local known = call('HMGET', job(id), 'name', 'bear', 'token', 'foreign', 'payload')
  if known[2] and known[3] then ask('BEAR.EXTEND', space, known[2], known[3]) end -- NOWAIT, before there is a second one
  local payload = payloadOf(id)
  if known[4] then -- it was enqueued by another program: from now on it says whose it is
    payload = '{"id":' .. jsonOf(id) .. ',"name":' .. jsonOf(known[1]) .. ',"data":' .. payload .. '}'
  end
  local bear = enqueue(known[1], payload, priority, isFirst, delay)
  if known[2] then
    if known[3] then
      local released = ask('BEAR.RELEASE', space, known[2], known[3])
      if not released and isHeld(known[2], known[3]) then
        ask('BEAR.REMOVE', space, bear)
        return false
      end
    end
    ask('BEAR.REMOVE', space, known[2])
  end
  call('HSET', job(id), 'bear', bear)
  call('HDEL', job(id), 'token', 'worker', 'foreign', 'payload', 'place')
  return true
end

-- ---- deduplication ----

local function free(dedup, id)
  if dedup and call('GET', base .. 'de:' .. dedup) == id then
    return call('DEL', base .. 'de:' .. dedup, base .. 'dn:' .. dedup)
  end
  return 0
end

-- ---- flows: jobs that wait for others, which may be of other queues ----

local section = space:match('}:(.*)$')

-- BullMQ's name of this queue, prefix:queue, of which the prefix may hold colons.
local function qualified()
  local function unescape(hex) return string.char(tonumber(hex, 16)) end
  local tenant = space:match('^{(.*)}:'):gsub('%%$', ''):gsub('%%(%x%x)', unescape)
  return tenant:find(':', 1, true) and tenant or 'bull:' .. tenant
end

-- BullMQ's name of a job of this queue, by which jobs of other queues know it.
local function node(id) return qualified() .. ':' .. id end

-- Does something with the job of that name, within its queue.
local function within(name, act)
  local own = qualified():match('^(.*):[^:]*$') .. ':'
  local prefix, queue, id
  if name:sub(1, #own) == own then -- then the id may hold colons
    prefix, queue, id = own:sub(1, -2), name:sub(#own + 1):match('^([^:]*):(.*)$')
  else
    prefix, queue, id = name:match('^(.*):([^:]*):([^:]*)$')
  end
  if not id then return nil end
  local function escape(one) return string.format('%%%02X', one:byte()) end
  local tenant = (prefix == 'bull' and queue or prefix .. ':' .. queue):gsub('[%%{}]', escape)
  if tenant == section then tenant = tenant .. '%' end
  local ours, ourMeta, ourBase, ourLongest = space, meta, base, longest
  space = '{' .. tenant .. '}:' .. section
  base = 'bmq:' .. space .. ':'
  meta = base .. 'meta'
  longest = nil
  local reply = act(id)
  space, meta, base, longest = ours, ourMeta, ourBase, ourLongest
  return reply
end

-- A job that waits for no child any more, and stands nowhere, goes into bear's queue.
local function begin(id, delay, now, isTold)
  local known = call('HMGET', job(id), 'name', 'payload', 'priority')
  local priority = tonumber(known[3]) or 0
  local bear = enqueue(known[1], known[2], priority, priority == 0, delay)
  call('HSET', job(id), 'bear', bear)
  call('HDEL', job(id), 'payload')
  if delay > 0 then
    standDelayed(id, now + delay)
    tell('delayed', 'jobId', id, 'delay', whole(now + delay))
    wakeAt()
  else
    standWaiting(id, priority, priority == 0)
    if isTold then tell('waiting', 'jobId', id, 'prev', 'waiting-children') end
  end
end

-- A parent goes on, if it waits for children.
local function goOn(id, now)
  if call('ZREM', base .. 'waiting-children', id) == 1 and call('EXISTS', job(id)) == 1 then
    begin(id, tonumber(call('HGET', job(id), 'delay')) or 0, now, true)
  end
end

local erase

-- The parent of a job waits for it no more. isHard: a parent of the same queue that waits for no other child goes with it.
local function detach(id, isHard, parent)
  parent = parent or call('HGET', job(id), 'parentKey')
  if not parent then return false end
  local child, home = node(id), base
  return within(parent, function(of)
    if call('SREM', job(of) .. ':dependencies', child) == 0 then return false end
    if call('SCARD', job(of) .. ':dependencies') == 0 and call('ZREM', base .. 'waiting-children', of) == 1 then
      if isHard and base == home then erase(of, false, true)
      elseif call('EXISTS', job(of)) == 1 then begin(of, 0, 0, not isHard) end
    end
    return true
  end)
end

-- A child has completed.
local function tellParent(parent, child, value, now)
  within(parent, function(of)
    local key = job(of)
    if call('SREM', key .. ':dependencies', child) == 1 then
      call('HSET', key .. ':processed', child, value)
      if call('SCARD', key .. ':dependencies') == 0 then goOn(of, now) end
    end
  end)
end

-- A child has failed: what becomes of its parent is said by the child's options.
local function failParent(of, child, reason, now)
  local parent = cjson.decode(of)
  if not (parent.fpof or parent.cpof or parent.idof or parent.rdof) then return end
  within(parent.queueKey .. ':' .. parent.id, function(id)
    local key = job(id)
    if call('SREM', key .. ':dependencies', child) == 0 then return end
    if parent.fpof then
      call('ZADD', key .. ':unsuccessful', now, child)
      if call('EXISTS', key) == 0 or call('ZSCORE', base .. 'failed', id) then return end
      call('HSET', key, 'deferred', 'child ' .. child .. ' failed')
      if call('ZSCORE', base .. 'delayed', id) then
        local priority = tonumber(call('HGET', key, 'priority')) or 0
        again(id, priority, priority == 0, 0)
        call('ZREM', base .. 'delayed', id)
        call('HSET', key, 'delay', 0)
        standWaiting(id, priority, priority == 0)
        tell('waiting', 'jobId', id, 'prev', 'waiting-children')
      else
        goOn(id, now)
      end
    elseif parent.cpof then
      call('HSET', key .. ':failed', child, reason)
      goOn(id, now)
    else
      if call('SCARD', key .. ':dependencies') == 0 then goOn(id, now) end
      if parent.idof then call('HSET', key .. ':failed', child, reason) end
    end
  end)
end

-- Removes all there is of a job but its standing. A claim that stands is ended.
erase = function(id, keepsDedup, isHard)
  detach(id, isHard)
  local key = job(id)
  local known = call('HMGET', key, 'bear', 'token', 'dedup')
  if known[1] then
    if isHeld(known[1], known[2]) then ask('BEAR.FAIL', space, known[1], known[2], 'removed', 'FINAL')
    else ask('BEAR.REMOVE', space, known[1]) end
  end
  if not keepsDedup then free(known[3], id) end
  return call('DEL', key, key .. ':logs', key .. ':dependencies', key .. ':processed', key .. ':failed', key .. ':unsuccessful')
end

local function isLocked(id, withChildren)
  local known = call('HMGET', job(id), 'bear', 'token')
  if isHeld(known[1], known[2]) then return true end
  for _, child in ipairs(withChildren and call('SMEMBERS', job(id) .. ':dependencies') or {}) do
    if within(child, function(of) return isLocked(of, true) end) then return true end
  end
  return false
end

local removeTree

local function removeChildren(id, options)
  local key, parent = job(id), node(id)
  local function remove(child)
    within(child, function(of) removeTree(of, parent, options) end)
  end
  if not options.keepsProcessed then
    for _, child in ipairs(call('HKEYS', key .. ':processed')) do remove(child) end
    for _, child in ipairs(call('HKEYS', key .. ':failed')) do remove(child) end
    for _, child in ipairs(call('ZRANGE', key .. ':unsuccessful', 0, -1)) do remove(child) end
  end
  for _, child in ipairs(call('SMEMBERS', key .. ':dependencies')) do remove(child) end
end

removeTree = function(id, parent, options)
  if options.keepsLocked and isLocked(id) then return end
  if options.keepsProcessed and call('ZSCORE', base .. 'failed', id) then return end
  detach(id, false, parent)
  if options.children then removeChildren(id, options) end
  local prev = leave(id)
  if erase(id) > 0 then tell('removed', 'jobId', id, 'prev', prev) end
end

local function isOfScheduler(id)
  local of = call('HGET', job(id), 'scheduler')
  local at = of and call('ZSCORE', base .. 'repeat', of)
  return at and id == 'repeat:' .. of .. ':' .. whole(tonumber(at))
end

-- ---- adding ----

-- What a job is made of: tail (its payload behind the id), name, opts (JSON), timestamp, delay, priority, lifo, dedup (its
-- options, JSON), scheduler, parentKey, parent (JSON), waits.
local function store(id, made)
  local delay, priority = tonumber(made.delay) or 0, tonumber(made.priority) or 0
  local isFirst = made.lifo == '1'
  local payload = '{"id":' .. (made.idJson or jsonOf(id)) .. ',' .. made.tail
  local waits = made.waits == '1' -- for its children: until they have ended it is not in bear's queue
  local fields = { 'name', made.name, 'opts', made.opts, 'timestamp', made.timestamp, 'delay', whole(delay), 'priority',
    whole(priority), waits and 'payload' or 'bear', waits and payload or enqueue(made.name, payload, priority, isFirst, delay) }
  local function also(field, value)
    if value and value ~= '' then fields[#fields + 1] = field; fields[#fields + 1] = value end
  end
  also('dedup', made.dedupId)
  also('scheduler', made.scheduler)
  also('parentKey', made.parentKey)
  also('parent', made.parent)
  call('HSET', job(id), unpack(fields))
  tell('added', 'jobId', id, 'name', made.name)
  if waits then
    call('ZADD', base .. 'waiting-children', made.timestamp, id)
    tell('waiting-children', 'jobId', id)
  elseif delay > 0 then
    local due = tonumber(made.timestamp) + delay
    standDelayed(id, due)
    tell('delayed', 'jobId', id, 'delay', whole(due))
    wakeAt()
  else
    standWaiting(id, priority, isFirst)
    tell('waiting', 'jobId', id)
  end
end

-- Its parent waits for it.
local function enrol(id, parent)
  if not parent or parent == '' then return end
  local child = node(id)
  within(parent, function(of) call('SADD', job(of) .. ':dependencies', child) end)
end

local function hold(dedup, id, options)
  local ttl = tonumber(options.ttl) or 0
  if ttl > 0 and not options.keepLastIfActive then call('SET', base .. 'de:' .. dedup, id, 'PX', whole(ttl))
  else call('SET', base .. 'de:' .. dedup, id) end
end

-- Keeps what a job is made of for when the active one with its deduplication key has finished.
local function keepNext(dedup, current, id, made)
  if not call('ZSCORE', base .. 'active', current) then return false end
  local key = base .. 'dn:' .. dedup
  call('DEL', key)
  for field, value in pairs(made) do call('HSET', key, field, value) end
  call('HSET', key, 'id', id)
  call('PERSIST', base .. 'de:' .. dedup)
  tell('deduplicated', 'jobId', current, 'deduplicationId', dedup, 'deduplicatedJobId', id)
  return true
end

-- Returns the id of the job that stands for this one, or nil: it is to be added.
local function deduplicate(id, made)
  if made.dedup == '' then return nil end
  local options = cjson.decode(made.dedup)
  local dedup = options.id
  if not dedup then return nil end
  local key = base .. 'de:' .. dedup
  local current = call('GET', key)
  if current and call('PTTL', key) == -1 and call('EXISTS', job(current)) == 0 then
    call('DEL', base .. 'dn:' .. dedup) -- it was to go with its job, which is gone
    current = nil
  end
  if not current then
    hold(dedup, id, options)
    return nil
  end
  if options.replace and call('ZREM', base .. 'delayed', current) == 1 then
    erase(current, true)
    tell('removed', 'jobId', current, 'prev', 'delayed')
    tell('deduplicated', 'jobId', id, 'deduplicationId', dedup, 'deduplicatedJobId', current)
    local ttl = tonumber(options.ttl) or 0
    if not options.keepLastIfActive and not options.extend and ttl > 0 then call('SET', key, id, 'KEEPTTL')
    else hold(dedup, id, options) end
    return nil
  end
  if options.keepLastIfActive and keepNext(dedup, current, id, made) then return current end
  if not options.replace then
    if options.extend and (tonumber(options.ttl) or 0) > 0 then hold(dedup, current, options) end
    tell('deduplicated', 'jobId', current, 'deduplicationId', dedup, 'deduplicatedJobId', id)
  end
  return current
end

-- The job that was kept for when this one has finished.
local function addNext(dedup, timestamp)
  local key = base .. 'dn:' .. dedup
  local made = pairsOf(call('HGETALL', key))
  if not made.id then return end
  call('INCR', base .. 'id')
  made.timestamp = timestamp
  local id = made.id
  hold(dedup, id, cjson.decode(made.dedup))
  store(id, made)
  enrol(id, made.parentKey)
  call('DEL', key)
end

-- ---- the end of a claim ----

-- Nil where this token may end the claim of an active job; else what BullMQ's errors are numbered by.
local function refusal(id, token)
  local known = call('HMGET', job(id), 'bear', 'token', 'worker')
  if token == '0' then return nil, known[1], known[2] end
  if not known[3] or not isHeld(known[1], known[2]) then return -2 end
  if known[3] ~= token then return -6 end
  return nil, known[1], known[2]
end

local function setFields(id, json)
  if json == '' then return end
  local fields = cjson.decode(json)
  if #fields > 0 then call('HSET', job(id), unpack(fields)) end
end

-- ---- the next job ----

local function promoteDue(now)
  local due = call('ZRANGEBYSCORE', base .. 'delayed', 0, whole(now * 4096 + 4095), 'LIMIT', 0, 1000)
  if #due == 0 then return end
  for _, id in ipairs(due) do
    local known = call('HMGET', job(id), 'bear', 'priority')
    if known[1] then ask('BEAR.PROMOTE', space, known[1]) end -- refused where it is due by the server's clock, too
    call('ZREM', base .. 'delayed', id)
    if known[1] then
      call('HSET', job(id), 'delay', 0)
      standWaiting(id, tonumber(known[2]) or 0)
      tell('waiting', 'jobId', id, 'prev', 'delayed')
    end
  end
end

local function limitTtl(most)
  if not most or most > tonumber(call('GET', base .. 'limiter') or 0) then return 0 end
  local left = call('PTTL', base .. 'limiter')
  if left == 0 then call('DEL', base .. 'limiter') end
  return left > 0 and left or 0
end

-- A lease of a job has ended: bear has given it back already.
local function countStall(id, mostStalls)
  local stalls = call('HINCRBY', job(id), 'stalls', 1)
  local of = call('HGET', job(id), 'scheduler')
  local isScheduled = of and call('EXISTS', base .. 'repeat:' .. of) == 1
  if stalls > mostStalls and not isScheduled then
    call('HSET', job(id), 'deferred', 'job stalled more than allowable limit')
  end
  tell('stalled', 'jobId', id)
end

-- A job that BEAR.ENQUEUE, a schedule of bear's or its inbox made.
local function adopt(id, claim)
  call('HSET', job(id), 'name', claim.job, 'opts', '{"attempts":1}', 'timestamp', whole(claim.enqueued), 'delay', 0, 'priority', 0,
    'bear', claim.id, 'foreign', 1)
end

-- Claims: {fields, id, ms of the rate limit, due of the next delayed job, payload}.
local function claimNext(by)
  local settings = call('HMGET', meta, 'max', 'duration')
  promoteDue(by.now)
  local most = tonumber(settings[1]) or tonumber(by.limitMax)
  local ttl = limitTtl(most)
  if ttl > 0 then return { 0, '', ttl, 0 } end
  if isHalted() then return { 0, '', 0, 0 } end
  for _ = 1, 100 do
    local words = { 'BEAR.CLAIM', space, 'LEASE', by.lease }
    if by.name ~= '' then words[5] = 'WORKER'; words[6] = by.name end
    local claims, refused = ask(unpack(words))
    if not claims then error({ err = refused }) end
    if not claims[1] then break end
    local claim = pairsOf(claims[1])
    local token = whole(claim.token)
    local id = idOf(claim.data)
    local known = id and call('HMGET', job(id), 'bear', 'name')
    local isStale = false
    if not id or known[1] ~= claim.id then
      -- one that stands under another id of bear's, or has finished, was left by a script that did not come to its end
      local head = id and known[2] and '{"id":' .. jsonOf(id) .. ',"name":' .. jsonOf(known[2]) .. ',"data":'
      isStale = head and claim.data:sub(1, #head) == head
      id = claim.id
      if not isStale and call('EXISTS', job(id)) == 0 then adopt(id, claim) end
    end
    local key = job(id)
    local due = call('ZSCORE', base .. 'delayed', id)
    due = due and math.floor(tonumber(due) / 4096)
    if isStale then
      ask('BEAR.ACK', space, claim.id, token)
    elseif due and due > by.now then -- due by the server's clock and not by the worker's, or put off for over a year
      call('HSET', key, 'token', token)
      again(id, tonumber(call('HGET', key, 'priority')) or 0, false, due - by.now)
    else
      if call('ZREM', base .. 'active', id) == 1 then
        countStall(id, tonumber(by.mostStalls) or 1)
        call('RPUSH', base .. 'stalled', id)
      elseif due then
        tell('waiting', 'jobId', id, 'prev', 'delayed')
        call('HSET', key, 'delay', 0)
      end
      local fields = { 'processedOn', whole(by.now), 'token', token }
      for _, state in ipairs({ 'wait', 'prioritized' }) do
        local place = call('ZSCORE', base .. state, id)
        if place then
          call('ZREM', base .. state, id)
          fields[5], fields[6] = 'place', state .. ':' .. place
          break
        end
      end
      if due then call('ZREM', base .. 'delayed', id) end
      call('ZADD', base .. 'active', call('INCR', base .. 'seq'), id)
      if by.name ~= '' then fields[#fields + 1] = 'by'; fields[#fields + 1] = by.name end
      if by.token ~= '0' then fields[#fields + 1] = 'worker'; fields[#fields + 1] = by.token
      else call('HDEL', key, 'worker') end
      call('HSET', key, unpack(fields))
      call('HINCRBY', key, 'started', 1)
      tell('active', 'jobId', id, 'prev', 'waiting')
      if most then
        local window = tonumber(by.limitMs) or tonumber(settings[2])
        if call('INCR', base .. 'limiter') == 1 and window then
          call('PEXPIRE', base .. 'limiter', whole(math.floor(math.abs(window))))
        end
      end
      wake() -- another worker may find one more
      return { call('HGETALL', key), id, 0, 0, claim.data }
    end
  end
  return { 0, '', 0, nextDue() or 0 }
end

local function claimer(at)
  return { now = tonumber(ARGV[at]), token = ARGV[at + 1], lease = ARGV[at + 2], name = ARGV[at + 3], limitMax = ARGV[at + 4],
    limitMs = ARGV[at + 5], mostStalls = ARGV[at + 6] }
end
`;
