/**
 * Scripts of job schedulers. BullMQ makes a schedule of single delayed jobs: each is enqueued when the one before it begins. So
 * a limit, an end, a strategy in code, the ids `repeat:<scheduler>:<ms>` are as there; BEAR.SCHEDULE is not used.
 */
const COMMON = `
local function scheduler(id) return base .. 'repeat:' .. id end

-- The next time of one that comes every so often, and by how much it is off whole multiples.
local function nextOf(last, every, now, offset, start)
  offset = tonumber(offset) or 0
  local at
  if last then
    at = last + every
    if at < now then
      at = math.floor(now / every) * every + offset
      if at <= now then at = at + every end
    end
  elseif start then
    at = math.max(tonumber(start), now)
  elseif offset > 0 then
    at = math.floor(now / every) * every + offset
    if at <= now then at = at + every end
  else
    at = now
  end
  if offset == 0 then offset = at - math.floor(at / every) * every end
  return math.floor(at), math.floor(offset)
end

local function number(value)
  if value == nil or value == cjson.null then return nil end
  return tonumber(value)
end

-- The job of one time. made.opts is JSON of its options without delay and id.
local function iterate(id, of, name, data, made, now, delay)
  local rest = made.opts == '{}' and '}' or ',' .. made.opts:sub(2)
  call('INCR', base .. 'id')
  store(id, {
    tail = '"name":' .. jsonOf(name) .. ',"data":' .. (data or '{}') .. '}',
    name = name,
    opts = '{"delay":' .. whole(delay) .. ',"jobId":' .. jsonOf(id) .. rest,
    timestamp = whole(now),
    delay = whole(delay),
    priority = made.priority,
    lifo = made.lifo,
    dedupId = made.dedupId,
    scheduler = of,
  })
end
`;

/** id, next ms, data, opts of the template, rule (JSON), opts of the job, now, priority, lifo, dedup id, offset of the job. */
export const ADD_SCHEDULER =
  COMMON +
  `
local of, at, data, templateOpts, now = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[8])
local rule = cjson.decode(ARGV[6])
local key = scheduler(of)
local last = tonumber(call('ZSCORE', base .. 'repeat', of))
local every = number(rule.every)
local offset = number(rule.offset) or tonumber(ARGV[12]) or 0
local newOffset = offset
local isOther = false
if every then
  local from = last
  if last and tonumber(call('HGET', key, 'every')) ~= every then
    from = nil
    isOther = true
  end
  at, newOffset = nextOf(from, every, now, offset, number(rule.startDate))
end

local isReplaced = false
if last then
  local current = 'repeat:' .. of .. ':' .. whole(last)
  local stands = call('EXISTS', job(current)) == 1 and stateOf(current)
  -- as in BullMQ, one that waits in a paused queue stays
  if stands == 'delayed' or stands == 'prioritized' or (stands == 'wait' and call('HEXISTS', meta, 'paused') == 0) then
    call('ZREM', base .. stands, current)
    erase(current)
    isReplaced = true
  end
end
if isReplaced then
  if every and not isOther then at = last end
else
  rule.offset = newOffset
end

local id = 'repeat:' .. of .. ':' .. whole(at)
if call('EXISTS', job(id)) == 1 then
  if every then
    local tried = 0
    repeat
      at = at + every
      id = 'repeat:' .. of .. ':' .. whole(at)
      tried = tried + 1
    until tried >= 32 or call('EXISTS', job(id)) == 0
    if call('EXISTS', job(id)) == 1 then return -11 end
  elseif not isReplaced then
    return -10
  end
end
local delay = math.max(at - now, 0)
local iterated = { opts = ARGV[7], priority = ARGV[9], lifo = ARGV[10], dedupId = ARGV[11] }
iterate(id, of, rule.name, data, iterated, now, delay)

local known = call('HMGET', key, 'ic', 'offset')
local fields = { 'name', rule.name, 'ic', known[1] or 1 }
local function keep(field, value)
  if value ~= nil and value ~= cjson.null and value ~= '' then
    fields[#fields + 1] = field
    fields[#fields + 1] = type(value) == 'number' and whole(value) or value
  end
end
keep('tz', rule.tz)
keep('pattern', rule.pattern)
keep('limit', rule.limit)
keep('startDate', rule.startDate)
keep('endDate', rule.endDate)
keep('every', rule.every)
if number(rule.offset) then keep('offset', rule.offset) else keep('offset', known[2]) end
if templateOpts ~= '{}' then keep('opts', templateOpts) end
if data ~= '{}' then keep('data', data) end
call('DEL', key)
call('HSET', key, unpack(fields))
call('ZADD', base .. 'repeat', whole(at), of)
return { id, whole(delay) }
`;

/** id, next ms, opts of the job, now, the job that asks, priority, lifo, dedup id, every of the job, its offset. */
export const ADVANCE_SCHEDULER =
  COMMON +
  `
local of, at, now = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
local last = tonumber(call('ZSCORE', base .. 'repeat', of))
if not last then return false end
local key = scheduler(of)
local known = call('HMGET', key, 'name', 'data', 'every', 'startDate', 'offset')
local every = tonumber(known[3]) or tonumber(ARGV[10])
local offset = known[5] or ARGV[11]
if every then at = nextOf(last, every, now, offset, known[4]) end
if ARGV[6] ~= 'repeat:' .. of .. ':' .. whole(last) then return false end
local id = 'repeat:' .. of .. ':' .. whole(at)
if call('EXISTS', job(id)) == 1 then
  tell('duplicated', 'jobId', id)
  return false
end
local made = { opts = ARGV[4], priority = ARGV[7], lifo = ARGV[8], dedupId = ARGV[9] }
iterate(id, of, known[1] or '', known[2], made, now, math.max(at - now, 0))
call('ZADD', base .. 'repeat', whole(at), of)
call('HINCRBY', key, 'ic', 1)
return id
`;

/** id. 0: it is gone; 1: there was none. */
export const REMOVE_SCHEDULER = `
local of = ARGV[2]
local at = tonumber(call('ZSCORE', base .. 'repeat', of))
if not at then return 1 end
local id = 'repeat:' .. of .. ':' .. whole(at)
if call('ZREM', base .. 'delayed', id) == 1 then
  erase(id)
  tell('removed', 'jobId', id, 'prev', 'delayed')
end
call('ZREM', base .. 'repeat', of)
call('DEL', base .. 'repeat:' .. of)
return 0
`;

/** id. {fields, next ms}. */
export const GET_SCHEDULER = `
local at = call('ZSCORE', base .. 'repeat', ARGV[2])
if not at then return { false, false } end
return { call('HGETALL', base .. 'repeat:' .. ARGV[2]), at }
`;
