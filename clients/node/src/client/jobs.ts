// Jobs as the client shows them: maps of the server with their names in camel case, and JSON parsed.
import type { Reply } from "./connection.js";
import { camelCase, toFields, toList, toObject } from "./replies.js";

export type JobState = "waiting" | "active" | "delayed" | "completed" | "failed";

/** Options of BEAR.ENQUEUE. Times are in ms. */
export interface EnqueueOptions {
  /** The same job again under this key is the first one. */
  unique?: string;
  /** Not before so many ms. */
  delay?: number;
  /** Not before this time. Not with `delay`. */
  at?: number | Date;
  /** Attempts until it fails for good, the first included. */
  attempts?: number;
  /** After a failed attempt, then twice as long each time. */
  backoff?: number;
  /** Of a job that workers claim: 1 to 2,147,483,647, the greatest first. */
  priority?: number;
  /** The trace that it belongs to, as the W3C's Trace Context writes it: `00-…`. Its worker is told it, and Postgres for an SQL job. */
  traceparent?: string;
}

/** A failed attempt. Times are Unix times in ms. */
export interface Attempt {
  attempt: number;
  message: string;
  stack: string | null;
  worker: string | null;
  at: number | null;
}

/** What is known of a job. Times are Unix times in ms; null is what does not apply. */
export interface Job<Data = unknown, Result = unknown> {
  id: string;
  job: string;
  state: JobState;
  /** Undefined where the record has left it out. */
  data: Data | undefined;
  attempts: number;
  enqueued: number | null;
  due: number | null;
  finished: number | null;
  error: { message: string; sqlstate: string | null } | null;
  result: Result | null;
  rows: number | null;
  worker: string | null;
  token: number | null;
  started: number | null;
  leaseEnds: number | null;
  maxAttempts: number | null;
  backoff: number | number[] | null;
  unique: string | null;
  progress: unknown;
  priority: number | null;
  stack: string | null;
  log: number | null;
  errors: Attempt[] | null;
  cancelled: string | null;
  /** Where it was enqueued with one. */
  traceparent?: string;
}

/** A job that this worker holds until its lease ends. */
export interface Claim<Data = unknown> {
  id: string;
  job: string;
  data: Data;
  attempt: number;
  attempts: number;
  /** Greater with each claim of the space: what the job writes to may refuse smaller ones. */
  token: number;
  leaseMs: number;
  priority: number;
  enqueued: number;
  /** Where it comes from: with ACK, FAIL, EXTEND, RELEASE and LOG. */
  space: string;
  /** Where it was enqueued with one. */
  traceparent?: string;
}

export interface LogLine {
  n: number;
  time: number;
  text: string;
}

/** A schedule as BEAR.SCHEDULES tells it. */
export interface Schedule {
  name: string;
  source: "catalog" | "command";
  cron: string | null;
  zone: string | null;
  every: number | null;
  from: number | null;
  until: number | null;
  limit: number | null;
  missed: "none" | "one" | "all";
  job: string | null;
  data: unknown;
  query: string | null;
  next: number[];
  last: number | null;
  lastOutcome: string | null;
  count: number;
}

/** What BEAR.SCHEDULE makes: a rule, `cron` or `every`, and a `job` or a `query`. */
export interface ScheduleOptions {
  cron?: string;
  /** An IANA time zone. */
  zone?: string;
  /** In ms. */
  every?: number;
  from?: number | Date;
  until?: number | Date;
  limit?: number;
  missed?: "none" | "one" | "all";
  job?: string;
  data?: unknown;
  priority?: number;
  attempts?: number;
  backoff?: number;
  query?: readonly (string | number | bigint | boolean)[];
}

export interface Limits {
  concurrency: number | null;
  rate: string | null;
  by: string | null;
  byConcurrency: number | null;
  byRate: string | null;
  set: number;
}

/** The figures of BEAR.STATS. */
export interface Stats {
  waiting: number;
  active: number;
  delayed: number;
  completed: number;
  failed: number;
  oldestMs: number;
  rate: number;
  inbox: number;
  bytes: number;
  lanes: number;
  connection: string;
  ledger: string;
  keys: string;
  paused: number;
  refused: unknown[];
  hits: number;
  misses: number;
  claims: number;
  claimed: number;
  expired: number;
  released: number;
  lost: number | null;
  completedKept: number | null;
  failedKept: number;
  failedTotal: number;
  workers: { name: string; address: string; claimed: number; lastSeen: number | null }[] | null;
  limits: Limits;
  jobs: { job: string; waiting: number; active: number; delayed: number; completedKept: number; failedKept: number; stopped: number }[] | null;
  loading: number;
  /** What a newer module tells. */
  [name: string]: unknown;
}

export function toJob<Data = unknown, Result = unknown>(reply: Reply): Job<Data, Result> {
  const fields = toFields(reply);
  return {
    ...fields,
    data: parsed(fields["data"]),
    result: parsed(fields["result"]) ?? null,
    progress: parsed(fields["progress"]) ?? null,
    error: isNothing(fields["error"]) ? null : toObject(fields["error"]),
    backoff: toBackoff(fields["backoff"]),
    errors: isNothing(fields["errors"]) ? null : toList(fields["errors"]).map(toFields),
  } as unknown as Job<Data, Result>;
}

export function toClaim<Data = unknown>(reply: Reply): Claim<Data> {
  const fields = toFields(reply);
  return { ...fields, data: parsed(fields["data"]), token: Number(fields["token"]) } as unknown as Claim<Data>;
}

export function toSchedule(reply: Reply): Schedule {
  const fields = toFields(reply);
  return { ...fields, data: parsed(fields["data"]) ?? null, next: toList(fields["next"]).map(Number) } as unknown as Schedule;
}

export function toStats(reply: Reply): Stats {
  const fields = toFields(reply);
  const maps = (list: Reply) => (isNothing(list) ? null : toList(list).map(toFields));
  return { ...fields, workers: maps(fields["workers"]), jobs: maps(fields["jobs"]), limits: toFields(fields["limits"]) } as unknown as Stats;
}

/** Any map, and the maps that stand in its lists under these names. */
export function toFieldsDeep(reply: Reply, lists: readonly string[]): Record<string, unknown> {
  const fields = toFields(reply);
  for (const name of lists.map(camelCase)) if (!isNothing(fields[name])) fields[name] = toList(fields[name]).map(toFields);
  return fields;
}

function isNothing(reply: Reply): boolean {
  return reply === null || reply === undefined;
}

function parsed(text: Reply): any {
  return typeof text === "string" ? JSON.parse(text) : undefined;
}

function toBackoff(reply: Reply): number | number[] | null {
  if (isNothing(reply)) return null;
  return Array.isArray(reply) ? reply.map(Number) : Number(reply);
}
