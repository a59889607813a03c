// The client. What never waits goes over the connection that the application has, which everything shares; what may wait
// goes another way, so that nothing is held up behind it:
//
//   query           NOBLOCK on the shared connection; a message on the listener's tells how a miss ended
//   getOrSet        WAIT 0 on the shared one; who has to wait for somebody else's value does so in `Waits`
//   wait            in `Waits`
//   lock with wait  on a connection of the second pool
//   mquery's misses, CHANGED, BEAR.VERIFY, BEAR.RELOAD, what is done to all jobs of a state, and misses while nobody listens:
//   on a connection of the first pool
import { randomBytes } from "node:crypto";
import { connectionOf, type RedisLike } from "./connect.js";
import { ConnectionLost, type Connection, type Reply, type Word } from "./connection.js";
import { Copies, type CopiesOptions, type CopiesStats } from "./copies.js";
import { BearError, hasCode, toBearError } from "./errors.js";
import { errorOf, Fills } from "./fills.js";
import { Invalidate } from "./invalidate.js";
import {
  toClaim, toFieldsDeep, toJob, toSchedule, toStats, type Claim, type EnqueueOptions, type Job, type JobState, type LogLine, type Schedule,
  type ScheduleOptions, type Stats,
} from "./jobs.js";
import { heldLock, type HeldLock } from "./locks.js";
import { Pool } from "./pool.js";
import { orError, toBoolean, toFields, toList } from "./replies.js";
import type { Telemetry } from "./telemetry.js";
import { isConnectionError, Waits } from "./waits.js";

/** A word of a call. */
export type CallWord = string | number | bigint | boolean;

/** What `fallback` is told of a call that could not be answered. */
export interface Unanswered {
  space: string;
  words: readonly string[];
  error: Error;
}

export interface BearOptions {
  /** Connections for misses and other commands that wait for Postgres, at most. Made when needed. Default 4. */
  pool?: number;
  /** Connections for waits of another kind (a job, a lock, a value that somebody else computes), at most. Default 4. */
  waits?: number;
  /**
   * Misses by NOBLOCK: no connection waits. Costs one that listens, and needs a right to the channels `bear:fill:<name>:*`.
   * Default true; false: misses wait on connections of the pool.
   */
  noblock?: boolean;
  /** Of this client in channels: up to 40 of `A-Z a-z 0-9 _ . -`; nobody else may have it. Default: a random one. */
  name?: string;
  /** What is waited for a miss, in ms: above the server's `bear.query-timeout-ms`. Default 6,000. */
  queryTimeout?: number;
  /**
   * What answers a query instead of Redis: where the connection is lost or does not answer within `answerTimeout`, and for
   * the errors POSTGRES, TIMEOUT and OVERLOADED. With it such a call does not wait until the client has connected again.
   */
  fallback?: (call: Unanswered) => unknown;
  /** With a fallback: what is waited for an answer on the shared connection, in ms. Default 2,000. */
  answerTimeout?: number;
  /** Copies of hits in the memory of this process. Default: none. */
  l1?: CopiesOptions | boolean;
  /** Spans: what is enqueued is given the active one, and a `Worker` of this client does its jobs within some. */
  telemetry?: Telemetry;
  /** Told of what goes wrong where nobody waits for it: a value computed anew beside, the connection of the copies. */
  onError?: (error: unknown) => void;
}

export interface QueryOptions {
  /** Fetched in any case. Not from a copy. */
  fresh?: boolean;
  /** Instead of the client's. */
  fallback?: (call: Unanswered) => unknown;
  /** Told, before the promise resolves, whose answer it is. */
  onAnswer?: (source: AnswerSource) => void;
}

/** `copy`: of this process (`l1`); `cache`: a hit; `postgres`: a miss, also one whose fetch somebody else had begun; `fallback`. */
export type AnswerSource = "copy" | "cache" | "postgres" | "fallback";

/** What a value is made of and how long it lives, as its function says while it computes. */
export interface Making {
  /** It was made of these rows. */
  rows(section: string, ...ids: CallWord[]): void;
  tags(...tags: string[]): void;
  /** Its life in ms, instead of the catalog's. 0: it is not stored. */
  ttl(ms: number): void;
}

export interface PutOptions<T = unknown> {
  /** Its life in ms, instead of the catalog's. 0: whoever waits is answered, and it is not stored. */
  ttl?: number | ((value: T) => number);
  tags?: readonly string[] | ((value: T) => readonly string[]);
  /** Rows that it was made of, by section: `{ product: [1, 2] }`. */
  rows?: Rows | ((value: T) => Rows);
  /** A value of `type = "bytes"`: it is a Buffer, and no JSON. */
  bytes?: boolean;
}

export type Rows = Readonly<Record<string, readonly CallWord[]>>;

export interface GetOrSetOptions<T = unknown> extends PutOptions<T> {
  /** How long to wait while somebody else computes, in ms; then this one computes, too, and stores nothing. Default 10,000. */
  wait?: number;
  /** How long computing may take, in ms, instead of the catalog's `lease`. */
  lease?: number;
}

export interface LimitResult {
  /** It may not be done now. */
  limited: boolean;
  /** How many may come at once. */
  limit: number;
  remaining: number;
  /** After so many ms the same would be let through; null where it is not limited, or never will be. */
  retryAfter: number | null;
  /** After so many ms the limit is whole again. */
  resetAfter: number;
}

export interface Rate {
  burst: number;
  count: number;
  /** In ms. */
  period: number;
}

export interface ClaimOptions {
  jobs?: readonly string[];
  count?: number;
  /** In ms. */
  lease?: number;
  worker?: string;
  /** Waits for a job so long, in ms, on a connection of the second pool. A `Worker` is what claims again and again. */
  block?: number;
}

/** A claim, as far as the commands that end it need it. */
export type Held = Pick<Claim, "id" | "token" | "space">;

/** Time between a command's own end and that at which its connection counts as dead. */
const GRACE_MS = 5000;
/** Of the events of a space, those that end a wait. */
const SETTLED = /^\{"event":"(?:completed|failed)",.*?"id":"([0-9-]+)"/;
const NAME = /^[A-Za-z0-9_.-]{1,40}$/;

export class Bear {
  /** The application's connection. */
  readonly connection: Connection;
  readonly invalidate: Invalidate;
  private readonly pool: Pool;
  private readonly waitPool: Pool;
  private readonly waits: Waits;
  private fills: Fills | undefined;
  private readonly copies: Copies | undefined;
  private ear: Connection | undefined;
  private readonly heardOf = new Set<string>();
  private readonly beside = new Set<Promise<unknown>>();
  private readonly failing = new Set<(error: Error) => void>();
  private readonly ends: (() => void)[] = [];
  private readonly name: string;
  private isClosed = false;
  private wasReady: boolean;
  private mayNoblock = true;

  constructor(
    redis: RedisLike,
    readonly options: BearOptions = {},
  ) {
    const connection = (this.connection = connectionOf(redis));
    const name = options.name ?? randomBytes(9).toString("base64url");
    this.name = name;
    if (!NAME.test(name)) throw new TypeError(`a name has up to 40 of A-Z a-z 0-9 _ . -, and this is ${name}`);
    this.pool = new Pool(connection, options.pool ?? 4);
    this.waitPool = new Pool(connection, options.waits ?? 4);
    this.waits = new Waits(this.waitPool);
    this.wasReady = connection.isReady;
    this.ends.push(connection.onReady(() => (this.wasReady = true)));
    this.ends.push(
      connection.onLost(() => {
        for (const fail of [...this.failing]) fail(new ConnectionLost("the connection to Redis was lost"));
      }),
    );
    if (options.l1 && connection.kind !== undefined) {
      throw new TypeError("copies (l1) are kept of what one server tells on one connection: not in a cluster, nor by createSentinel of redis (ioredis' Redis has Sentinels, too)");
    }
    if (options.l1) this.copies = new Copies(connection, options.l1 === true ? {} : options.l1, (error) => this.failed(error));
    this.invalidate = new Invalidate(
      (words) => this.send(words),
      (words) => this.sendAside(words, this.queryTimeout),
    );
  }

  // --- queries ------------------------------------------------------------------------------------------------------

  /** The result of a call, parsed. From a copy of this process (`l1`) it is frozen. */
  query<T = unknown>(space: string, ...words: CallWord[]): Promise<T>;
  query<T = unknown>(space: string, words: readonly CallWord[], options?: QueryOptions): Promise<T>;
  async query<T>(space: string, ...rest: unknown[]): Promise<T> {
    const isList = Array.isArray(rest[0]);
    const given = (isList ? rest[0] : rest) as CallWord[];
    const options = (isList ? (rest[1] ?? NO_OPTIONS) : NO_OPTIONS) as QueryOptions;
    const call = this.copies === undefined ? "" : callOf(space, given);
    if (this.copies !== undefined && !options.fresh) {
      const copy = this.copies.get(call);
      if (copy !== undefined) {
        options.onAnswer?.("copy");
        return copy.value as T;
      }
    }
    const words = given.map(String);
    const fallback = options.fallback ?? this.options.fallback;
    try {
      const { value, isHit } = await this.fetch(space, words, call, options.fresh === true, fallback !== undefined);
      options.onAnswer?.(isHit ? "cache" : "postgres");
      return value as T;
    } catch (thrown) {
      const error = toBearError(thrown);
      if (!fallback || !mayFallBack(error)) throw error;
      const value = (await fallback({ space, words, error: error as Error })) as T;
      options.onAnswer?.("fallback");
      return value;
    }
  }

  /** Many calls of a space at once: each one's result, or its error. */
  async mquery<T = unknown>(space: string, calls: readonly (readonly CallWord[])[]): Promise<(T | Error)[]> {
    const counted = (some: readonly (readonly CallWord[])[]) => some.flatMap((call) => [call.length, ...call.map(String)]);
    const read = (reply: Reply) => orError(reply, (text) => (text === null ? undefined : (JSON.parse(text as string) as T)));
    const found = toList(await this.send(["BEAR.MQUERY", space, "CACHED", ...counted(calls)])).map(read);
    const missing = calls.filter((_, at) => found[at] === undefined);
    if (missing.length > 0) {
      // Each is fetched within the timeout, but a fetch may wait for a thread.
      const fetched = toList(await this.sendAside(["BEAR.MQUERY", space, ...counted(missing)], this.queryTimeout)).map(read);
      for (const [at, each] of found.entries()) if (each === undefined) found[at] = fetched.shift();
    }
    return found as (T | Error)[];
  }

  // --- values -------------------------------------------------------------------------------------------------------

  /** A value that stands, parsed, or null where there is none. No lease is taken. With `bytes` it is a Buffer. */
  async get<T = unknown>(space: string, words: readonly CallWord[], options: { bytes?: boolean } = {}): Promise<T | null> {
    const { value, token } = await this.lease<T>(space, words, { ...options, lease: 1 });
    if (token !== null) await this.forget(space, token); // a miss gives a lease to whoever asks
    return value;
  }

  /**
   * BEAR.GET as it is: a value, or a token for `put` with which it may be computed, or both near the end of the value's life, or
   * neither while somebody else computes (and for longer than `wait` ms, default 0). `getOrSet` does all of it.
   */
  async lease<T = unknown>(
    space: string,
    words: readonly CallWord[],
    options: { lease?: number; wait?: number; bytes?: boolean } = {},
  ): Promise<{ value: T | null; token: string | null }> {
    const { text, token } = await this.valueOrLease(space, words.map(String), { wait: 0, ...options }, false);
    return { value: text === null ? null : ((options.bytes ? text : JSON.parse(text as string)) as T), token };
  }

  /** Many values of a space, each parsed, null where there is none, or its error. No leases are taken. */
  async mget<T = unknown>(space: string, calls: readonly (readonly CallWord[])[]): Promise<(T | null | Error)[]> {
    const found = toList(await this.send(["BEAR.MGET", space, "LEASE", 1, ...calls.flatMap((call) => [call.length, ...call.map(String)])]));
    const tokens = new Set<string>();
    const values = found.map((each) =>
      orError(each, (pair) => {
        const [value, token] = toList(pair);
        if (token !== null && token !== undefined) tokens.add(String(token));
        return value === null ? null : (JSON.parse(value as string) as T);
      }),
    );
    await Promise.all([...tokens].map((token) => this.send(["BEAR.FORGET", space, token])));
    return values;
  }

  /**
   * The value of a call; `compute` gives it where nobody has, one client at a time. It reads its sources when it is called,
   * and not before: what it has read then is as new as its lease. It may be called without a lease: where Redis is away, or
   * somebody else takes longer than `wait`; then nothing is stored.
   */
  async getOrSet<T = unknown>(
    space: string,
    words: readonly CallWord[],
    compute: (making: Making) => T | Promise<T>,
    options: GetOrSetOptions<T> = {},
  ): Promise<T> {
    const call = this.copies === undefined || options.bytes ? "" : callOf(space, words);
    const copy = call === "" ? undefined : this.copies?.get(call);
    if (copy !== undefined) return copy.value as T;
    const sent = words.map(String);
    const ask = call === "" ? undefined : this.copies?.begin(space, call);
    let leased: Leased;
    try {
      leased = await this.valueOrLease(space, sent, options, true);
      if (leased.text !== null && leased.token === null && typeof leased.text === "string") this.copies?.keep(ask, sent, leased.text);
      else this.copies?.give(ask);
    } catch (thrown) {
      this.copies?.give(ask);
      const error = toBearError(thrown);
      if (!isConnectionError(error) && !hasCode(error, "OVERLOADED", "LOADING", "MASTERDOWN", "UNBLOCKED")) throw error;
      leased = { text: null, token: null };
    }
    if (leased.text === null) return this.compute(space, sent, compute, options, leased.token);
    if (leased.token !== null) {
      // Near the end of its life: this one computes it anew, beside.
      this.doBeside(this.compute(space, sent, compute, options, leased.token));
    }
    return (options.bytes ? leased.text : JSON.parse(leased.text as string)) as T;
  }

  /** Stores a value: with `token` one that was computed under that lease; without, write-through, one that is as new as this command. True: it is stored. */
  async put<T = unknown>(
    space: string,
    words: readonly CallWord[],
    value: T,
    options: PutOptions<T> & { token?: string; ifAbsent?: boolean } = {},
  ): Promise<boolean> {
    const more = options.token !== undefined ? ["TOKEN", options.token] : options.ifAbsent ? ["IF", "ABSENT"] : [];
    return toBoolean(await this.send([...putWords(space, words.map(String), value, options), ...more]));
  }

  /** Gives up a lease that BEAR.GET gave. */
  async forget(space: string, token: string): Promise<boolean> {
    return toBoolean(await this.send(["BEAR.FORGET", space, token]));
  }

  // --- jobs ---------------------------------------------------------------------------------------------------------

  /** Queues a job; its id. */
  async enqueue(space: string, job: string, data: unknown, options: EnqueueOptions = {}): Promise<string> {
    const traceparent = options.traceparent ?? this.options.telemetry?.traceparent?.();
    return (await this.send(enqueueWords(space, job, data, traceparent === undefined ? options : { ...options, traceparent }))) as string;
  }

  /** What is known of a job, by its id, or by `{ unique }`; null: nothing. */
  async job<Data = unknown, Result = unknown>(space: string, id: string | { unique: string }): Promise<Job<Data, Result> | null> {
    return jobOrNull(await this.send(["BEAR.JOB", space, ...jobWords(id)]));
  }

  /**
   * The job, once it has completed or failed; null where no such job is known. Rejects with the code TIMEOUT after
   * `timeout` ms (default 30,000); the job stays. Any number may wait: see docs/clients/node.md.
   */
  async wait<Data = unknown, Result = unknown>(
    space: string,
    id: string | { unique: string },
    options: { timeout?: number; signal?: AbortSignal } = {},
  ): Promise<Job<Data, Result> | null> {
    const words = ["BEAR.JOB", space, ...jobWords(id)];
    const timeout = options.timeout ?? 30_000;
    const settled = (reply: Reply): { job: Job<Data, Result> | null } | undefined => {
      const job = jobOrNull<Data, Result>(reply);
      return job === null || job.state === "completed" || job.state === "failed" ? { job } : undefined;
    };
    const found = await this.waits.wait(
      `job ${space} ${words.at(-1)}`,
      {
        block: async (connection, ms) => settled(await connection.call([...words, "BLOCK", ms], { timeoutMs: ms + GRACE_MS })),
        ask: async () => settled(await this.send(words)),
        asks: () => this.hearOfJobs(space),
      },
      timeout,
      options.signal,
    );
    if (found === undefined) throw new BearError("TIMEOUT", `job ${words.at(-1)} of ${space} has not settled within ${timeout} ms`);
    return found.job;
  }

  async jobs<Data = unknown, Result = unknown>(
    space: string,
    state: JobState,
    options: { job?: string; count?: number; after?: string; newest?: boolean; offset?: number } = {},
  ): Promise<Job<Data, Result>[]> {
    const words: Word[] = ["BEAR.JOBS", space, state];
    if (options.job !== undefined) words.push("JOB", options.job);
    if (options.count !== undefined) words.push("COUNT", options.count);
    if (options.after !== undefined) words.push("AFTER", options.after);
    if (options.newest) words.push("NEWEST");
    if (options.offset !== undefined) words.push("OFFSET", options.offset);
    return toList(await this.send(words)).map((each) => toJob<Data, Result>(each));
  }

  async stats(space: string): Promise<Stats> {
    return toStats(await this.send(["BEAR.STATS", space]));
  }

  async pause(space: string): Promise<void> {
    await this.send(["BEAR.PAUSE", space]);
  }

  async resume(space: string): Promise<void> {
    await this.send(["BEAR.RESUME", space]);
  }

  /** Enqueues failed jobs again, all of these or none, or `"all"`; the new ids. */
  async retry(space: string, ids: readonly string[] | "all"): Promise<string[]> {
    const reply = ids === "all" ? this.sendAside(["BEAR.RETRY", space, "ALL"], undefined) : this.send(["BEAR.RETRY", space, ...ids]);
    return toList(await reply) as string[];
  }

  /** False: there is no such job. */
  async remove(space: string, id: string): Promise<boolean> {
    return toBoolean(await this.send(["BEAR.REMOVE", space, id]));
  }

  /** Makes a delayed job due, or `"all"`; how many became so. */
  async promote(space: string, id: string | "all"): Promise<number> {
    return Number(await (id === "all" ? this.sendAside(["BEAR.PROMOTE", space, "ALL"], undefined) : this.send(["BEAR.PROMOTE", space, id])));
  }

  /** Removes jobs in a state; how many. */
  async clean(space: string, state: Exclude<JobState, "active">, options: { older?: number; count?: number } = {}): Promise<number> {
    const words: Word[] = ["BEAR.CLEAN", space, state];
    if (options.older !== undefined) words.push("OLDER", options.older);
    if (options.count !== undefined) words.push("COUNT", options.count);
    return Number(await this.sendAside(words, undefined)); // in slices, for as long as there are jobs
  }

  /** Ends a queued job as failed, or has its worker end it; the state that follows. */
  async cancel(space: string, id: string, message?: string): Promise<"failed" | "active"> {
    return (await this.send(["BEAR.CANCEL", space, id, ...(message === undefined ? [] : [message])])) as "failed" | "active";
  }

  /** Gives a job that waits for workers another payload. */
  async update(space: string, id: string, data: unknown): Promise<void> {
    await this.send(["BEAR.UPDATE", space, id, json(data)]);
  }

  /** The lines that are kept with a job, oldest first. */
  async logs(space: string, id: string, options: { count?: number; after?: number } = {}): Promise<LogLine[]> {
    const words: Word[] = ["BEAR.LOGS", space, id];
    if (options.count !== undefined) words.push("COUNT", options.count);
    if (options.after !== undefined) words.push("AFTER", options.after);
    return toList(await this.send(words)).map(toFields) as unknown as LogLine[];
  }

  /** Limits of a queue: concurrency and rate (`80/s`), of all or of each value of a field; 0 is none, `"default"` the catalog's. */
  async limitQueue(space: string, limits: { by?: string; concurrency?: number; rate?: string | 0 } | "default"): Promise<void> {
    const words: Word[] = ["BEAR.LIMITQUEUE", space];
    if (limits === "default") words.push("DEFAULT");
    else {
      if (limits.by !== undefined) words.push("BY", limits.by);
      if (limits.concurrency !== undefined) words.push("CONCURRENCY", limits.concurrency);
      if (limits.rate !== undefined) words.push("RATE", limits.rate);
    }
    await this.send(words);
  }

  // --- claims -------------------------------------------------------------------------------------------------------

  async claim<Data = unknown>(space: string, options: ClaimOptions = {}): Promise<Claim<Data>[]> {
    const words = claimWords(space, options);
    const { block } = options;
    const reply =
      block === undefined
        ? await this.send(words)
        : await this.onWaitPool((connection) => connection.call([...words, "BLOCK", block], block === 0 ? {} : { timeoutMs: block + GRACE_MS }));
    return toList(reply).map((each) => toClaim<Data>(each));
  }

  /** The job is done. */
  async ack(claim: Held, result?: unknown): Promise<void> {
    await this.send(["BEAR.ACK", claim.space, claim.id, claim.token, ...(result === undefined ? [] : ["RESULT", json(result)])]);
  }

  /** Many of one space at once: which of them were not accepted, and why. */
  async ackAll(space: string, claims: readonly Held[]): Promise<{ accepted: number; refused: { id: string; error: Error }[] }> {
    if (claims.length === 0) return { accepted: 0, refused: [] };
    const reply = await this.send(["BEAR.ACK", space, ...claims.flatMap(({ id, token }) => [id, token])]).catch((error: Error) => error);
    const [only] = claims as [Held];
    if (reply instanceof Error) {
      if (claims.length === 1 && hasCode(reply, "LOST")) return { accepted: 0, refused: [{ id: only.id, error: reply }] };
      throw reply;
    }
    if (!Array.isArray(reply)) return { accepted: Number(reply), refused: [] };
    const refused = toList(reply[1]).map((each) => {
      const [id, error] = toList(each);
      return { id: String(id), error: error instanceof Error ? (toBearError(error) as Error) : new BearError("LOST", String(error)) };
    });
    return { accepted: Number(reply[0]), refused };
  }

  /** The attempt has failed; the state that follows. `final`: there is no other. `backoff` in ms. */
  async fail(claim: Held, message: string, options: { final?: boolean; backoff?: number; stack?: string } = {}): Promise<"delayed" | "waiting" | "failed"> {
    const words: Word[] = ["BEAR.FAIL", claim.space, claim.id, claim.token, message];
    if (options.final) words.push("FINAL");
    if (options.backoff !== undefined) words.push("BACKOFF", options.backoff);
    if (options.stack !== undefined) words.push("STACK", options.stack);
    return (await this.send(words)) as "delayed" | "waiting" | "failed";
  }

  /** The lease begins anew; the ms that are left of it. */
  async extend(claim: Held, options: { lease?: number; progress?: unknown } = {}): Promise<number> {
    const words: Word[] = ["BEAR.EXTEND", claim.space, claim.id, claim.token];
    if (options.lease !== undefined) words.push("LEASE", options.lease);
    if (options.progress !== undefined) words.push("PROGRESS", json(options.progress));
    return Number(await this.send(words));
  }

  /** Gives a job back, without an attempt counted; the state that follows. */
  async release(claim: Held): Promise<"waiting" | "failed"> {
    return (await this.send(["BEAR.RELEASE", claim.space, claim.id, claim.token])) as "waiting" | "failed";
  }

  /** Keeps a line of text with the job; its number. */
  async log(claim: Held, text: string): Promise<number> {
    return Number(await this.send(["BEAR.LOG", claim.space, claim.id, claim.token, text]));
  }

  // --- schedules, locks, limits ------------------------------------------------------------------------------------

  /** From now on a job is enqueued, or a query fetched, at each tick. The same again changes nothing. */
  async schedule(space: string, name: string, options: ScheduleOptions): Promise<void> {
    await this.send(scheduleWords(space, name, options));
  }

  async schedules(space: string): Promise<Schedule[]> {
    return toList(await this.send(["BEAR.SCHEDULES", space])).map(toSchedule);
  }

  /** False: no command made a schedule of this name. */
  async unschedule(space: string, name: string): Promise<boolean> {
    return toBoolean(await this.send(["BEAR.UNSCHEDULE", space, name]));
  }

  /** Takes a lock for `ms`; its token, or null: another has it, after waiting `wait` ms. */
  async lock(space: string, name: string, ms: number, options: { wait?: number } = {}): Promise<number | null> {
    const words = ["BEAR.LOCK", space, name, ms];
    const { wait } = options;
    const reply = !wait
      ? await this.send(words)
      : await this.onWaitPool((connection) => connection.call([...words, "WAIT", wait], { timeoutMs: wait + GRACE_MS }));
    return reply === null ? null : Number(reply);
  }

  /** False: the token did not hold it any more. */
  async unlock(space: string, name: string, token: number): Promise<boolean> {
    return toBoolean(await this.send(["BEAR.UNLOCK", space, name, token]));
  }

  /** Holds a lock for `ms` from now on. False: the token does not hold it any more. */
  async extendLock(space: string, name: string, token: number, ms: number): Promise<boolean> {
    return toBoolean(await this.send(["BEAR.EXTENDLOCK", space, name, token, ms]));
  }

  /**
   * Does something while it holds a lock, which is extended at every third of `ms` and given back in the end. The signal is
   * aborted when the lock is lost. Rejects with a LockNotHad where it is not had within `wait` ms (default: at once).
   */
  withLock<T>(space: string, name: string, options: { ms?: number; wait?: number }, work: (lock: HeldLock) => T | Promise<T>): Promise<T> {
    return heldLock(this, space, name, options, work);
  }

  /** May it be done now? By a limit of the catalog, or by numbers. `quantity` 0 looks, and changes nothing. */
  async limit(space: string, limit: string | Rate, key: string, quantity?: number): Promise<LimitResult> {
    const words: Word[] =
      typeof limit === "string"
        ? ["BEAR.LIMIT", space, limit, key]
        : ["BEAR.LIMIT", space, key, limit.burst, limit.count, limit.period];
    if (quantity !== undefined) words.push(quantity);
    const [limited, most, remaining, retryAfter, resetAfter] = toList(await this.send(words)).map(Number) as [number, number, number, number, number];
    return { limited: limited === 1, limit: most, remaining, retryAfter: retryAfter < 0 ? null : retryAfter, resetAfter };
  }

  // --- what operators ask -------------------------------------------------------------------------------------------

  /** A call's key, SQL and parameters, whether it is cached, and what would drop it. */
  async explain(space: string, ...words: CallWord[]): Promise<Record<string, unknown>> {
    return toFields(await this.send(["BEAR.EXPLAIN", space, ...words.map(String)]));
  }

  /** The loaded catalog, or one of its sections. */
  async catalog(section?: string): Promise<Record<string, unknown>> {
    const reply = await this.send(["BEAR.CATALOG", ...(section === undefined ? [] : [section])]);
    return toFieldsDeep(reply, section === undefined ? [] : ["queries", "values", "jobs", "limit", "named_limits"]);
  }

  async feed(): Promise<Record<string, unknown>> {
    return toFields(await this.send(["BEAR.FEED"]));
  }

  /** Compares cached results with Postgres. Takes as long as it takes. */
  async verify(space: string, options: { count?: number } = {}): Promise<Record<string, unknown>> {
    const words: Word[] = ["BEAR.VERIFY", space, ...(options.count === undefined ? [] : ["COUNT", options.count])];
    return toFieldsDeep(await this.sendAside(words, undefined), ["calls"]);
  }

  /** Reads the catalog's file again; in a cluster each master reads its own. */
  async reload(): Promise<void> {
    if (!this.connection.masters) return void (await this.sendAside(["BEAR.RELOAD"], undefined));
    for (const master of await this.connection.masters()) {
      const own = master.duplicate();
      try {
        await own.call(["BEAR.RELOAD"]);
      } catch (error) {
        throw toBearError(error);
      } finally {
        own.close();
      }
    }
  }

  /** In a cluster, by each master. */
  async adopt(section: string): Promise<void> {
    if (!this.connection.masters) return void (await this.send(["BEAR.ADOPT", section]));
    for (const master of await this.connection.masters()) {
      await master.call(["BEAR.ADOPT", section]).catch((error: unknown) => {
        throw toBearError(error);
      });
    }
  }

  /** Any command of the server, on the shared connection: of one that waits, what is sent behind it waits, too. */
  async send(words: readonly Word[], options: { buffers?: boolean; failFast?: boolean } = {}): Promise<Reply> {
    try {
      if (!options.failFast) return await this.connection.call(words, options);
      return await this.answerSoon(words, options.buffers === true);
    } catch (error) {
      throw toBearError(error);
    }
  }

  /** What the copies of this process (`l1`) do; undefined where there are none. */
  l1Stats(): CopiesStats | undefined {
    return this.copies?.stats();
  }

  /** Ends what waits, and the connections that were made; what is computed beside is waited for. The application's own connection stays. */
  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.allSettled([...this.beside]);
    for (const end of this.ends.splice(0)) end();
    this.waits.close();
    this.pool.close();
    this.waitPool.close();
    this.fills?.close();
    this.ear?.close();
    this.copies?.close();
  }

  // ------------------------------------------------------------------------------------------------------------------

  private get queryTimeout(): number {
    return this.options.queryTimeout ?? 6000;
  }

  private async fetch(space: string, words: readonly string[], call: string, isFresh: boolean, failFast: boolean): Promise<{ value: unknown; isHit: boolean }> {
    const hit = (text: string) => ({ value: JSON.parse(text) as unknown, isHit: true });
    const miss = (text: string) => ({ value: JSON.parse(text) as unknown, isHit: false });
    if (isFresh) return miss((await this.sendAside(["BEAR.QUERY", space, "FRESH", ...words], this.queryTimeout)) as string);
    const ask = call === "" ? undefined : this.copies?.begin(space, call);
    const onShared = async (...options: string[]): Promise<string | null> => {
      let text: string | null = null;
      try {
        text = (await this.send(["BEAR.QUERY", space, ...options, ...words], { failFast })) as string | null;
        return text;
      } finally {
        if (text === null) this.copies?.give(ask); // of misses no copy is made
        else this.copies?.keep(ask, words, text);
      }
    };
    // In a cluster, and by createSentinel, misses wait on the pool.
    if (this.options.noblock !== false && this.connection.kind === undefined && !this.isClosed) this.fills ??= new Fills(this.connection, this.name, this.queryTimeout);
    if (this.fills?.isListening && this.mayNoblock) {
      try {
        const end = await this.fills.ask((name) => onShared("NOBLOCK", name));
        if ("found" in end) return hit(end.found);
        if (end.filled.status === "failed") throw errorOf(end.filled);
        if (end.filled.result !== undefined) return { value: end.filled.result, isHit: false };
        if (end.filled.status === "stored") {
          const stored = (await this.send(["BEAR.QUERY", space, "CACHED", ...words], { failFast })) as string | null;
          if (stored !== null) return miss(stored);
        }
      } catch (error) {
        // The listener was lost, or may not listen: the pool's connections are there.
        if (hasCode(error, "NOPERM")) this.mayNoblock = false;
        else if (!(error instanceof ConnectionLost) || !this.connection.isReady) throw error;
      }
    } else {
      const cached = await onShared("CACHED");
      if (cached !== null) return hit(cached);
    }
    return miss((await this.sendAside(["BEAR.QUERY", space, ...words], this.queryTimeout)) as string);
  }

  /** A value, a lease, both, or neither: somebody else computes for longer than we wait. */
  private async valueOrLease(space: string, words: readonly string[], options: { lease?: number; wait?: number; bytes?: boolean }, failFast: boolean): Promise<Leased> {
    const buffers = options.bytes === true;
    const more: Word[] = options.lease === undefined ? [] : ["LEASE", options.lease];
    const read = (reply: Reply): Leased => {
      const [text, token] = toList(reply) as [string | Buffer | null, string | Buffer | null];
      return { text: text ?? null, token: token === null || token === undefined ? null : String(token) };
    };
    const ask = async () => read(await this.send(["BEAR.GET", space, ...more, "WAIT", 0, ...words], { buffers, failFast }));
    const first = await ask();
    const wait = options.wait ?? 10_000;
    if (first.text !== null || first.token !== null || wait <= 0) return first;
    const some = (leased: Leased) => (leased.text !== null || leased.token !== null ? leased : undefined);
    const found = await this.waits.wait(
      `value ${callOf(space, words)}`,
      {
        block: async (connection, ms) =>
          some(read(await connection.call(["BEAR.GET", space, ...more, "WAIT", ms, ...words], { buffers, timeoutMs: ms + GRACE_MS }))),
        ask: async () => some(await ask()),
      },
      wait,
    );
    // Others of this process who wait for it need not ask in vain.
    if (found !== undefined && found.text !== null) this.waits.poke(`value ${callOf(space, words)}`);
    return found ?? { text: null, token: null };
  }

  private async compute<T>(
    space: string,
    words: readonly string[],
    compute: (making: Making) => T | Promise<T>,
    options: GetOrSetOptions<T>,
    token: string | null,
  ): Promise<T> {
    const said: Word[] = [];
    const making: Making = {
      rows: (section, ...ids) => void (ids.length > 0 && said.push("ROW", section, ...ids.map(String))),
      tags: (...tags) => void said.push(...tags.flatMap((tag) => ["TAG", tag])),
      ttl: (ms) => void said.push("TTL", ms),
    };
    let value: T;
    try {
      value = await compute(making);
    } catch (error) {
      if (token !== null) await this.giveUp(space, words, token); // the next who waits may try
      throw error;
    }
    if (token === null) return value;
    try {
      await this.send([...putWords(space, words, value, options), "TOKEN", token, ...said], { failFast: true });
      this.waits.poke(`value ${callOf(space, words)}`);
    } catch (error) {
      // The value is as good as it was: only a mistake of the program (a wrong section, no such tag) is told to who asks.
      await this.giveUp(space, words, token);
      if (hasCode(error, "ERR")) throw error;
      this.failed(error);
    }
    return value;
  }

  private async giveUp(space: string, words: readonly string[], token: string): Promise<void> {
    await this.send(["BEAR.FORGET", space, token], { failFast: true }).catch((error: unknown) => this.failed(error));
    this.waits.poke(`value ${callOf(space, words)}`);
  }

  /** Where the space has events, who asks now and then for a job's end is told of it, and asks at once. */
  private hearOfJobs(space: string): void {
    if (this.heardOf.has(space) || this.isClosed) return;
    this.heardOf.add(space);
    this.ear ??= this.connection.duplicate();
    const heard = (message: unknown) => {
      const [, id] = SETTLED.exec(String(message)) ?? [];
      if (id !== undefined) this.waits.poke(`job ${space} ${id}`);
    };
    this.ear.subscribe(`bear:events:${space}`, heard).catch(() => {}); // without a right to it, it asks as before
  }

  private doBeside(work: Promise<unknown>): void {
    const done: Promise<unknown> = work.catch((error: unknown) => this.failed(error)).finally(() => this.beside.delete(done));
    this.beside.add(done);
  }

  private failed(error: unknown): void {
    this.options.onError?.(error);
  }

  /** On a connection of the first pool. */
  private async sendAside(words: readonly Word[], timeoutMs: number | undefined): Promise<Reply> {
    try {
      return await this.pool.run((connection) => connection.call(words, timeoutMs === undefined ? {} : { timeoutMs }));
    } catch (error) {
      throw toBearError(error);
    }
  }

  private async onWaitPool(use: (connection: Connection) => Promise<Reply>): Promise<Reply> {
    try {
      return await this.waitPool.run(use);
    } catch (error) {
      throw toBearError(error);
    }
  }

  /** Fails at once where the connection is lost, and after a while where nothing comes, rather than wait until it is there again. */
  private async answerSoon(words: readonly Word[], buffers: boolean): Promise<Reply> {
    if (!this.connection.isReady && this.wasReady) throw new ConnectionLost("there is no connection to Redis");
    let fail!: (error: Error) => void;
    const failed = new Promise<never>((_, reject) => (fail = reject));
    failed.catch(() => {});
    const timeoutMs = this.options.answerTimeout ?? 2000;
    const timer = setTimeout(() => fail(new ConnectionLost(`Redis has not answered within ${timeoutMs} ms`)), timeoutMs);
    this.failing.add(fail);
    const answer = this.connection.call(words, { buffers });
    answer.catch(() => {});
    try {
      return await Promise.race([answer, failed]);
    } finally {
      clearTimeout(timer);
      this.failing.delete(fail);
    }
  }
}

interface Leased {
  text: string | Buffer | null;
  token: string | null;
}

const NO_OPTIONS: QueryOptions = Object.freeze({});

/** May a fallback answer instead? */
function mayFallBack(error: unknown): boolean {
  return isConnectionError(error) || hasCode(error, "POSTGRES", "TIMEOUT", "OVERLOADED", "LOADING", "MASTERDOWN");
}

/** A call as a word: of its words no two can be taken for others. */
function callOf(space: string, words: readonly CallWord[]): string {
  let call = space;
  for (const word of words) call += `\u0000${word}`;
  return call;
}

function json(data: unknown): string {
  return JSON.stringify(data) ?? "null";
}

function valueOf<T, V>(given: V | ((value: T) => V) | undefined, value: T): V | undefined {
  return typeof given === "function" ? (given as (value: T) => V)(value) : given;
}

function putWords<T>(space: string, words: readonly string[], value: T, options: PutOptions<T>): Word[] {
  const put: Word[] = ["BEAR.PUT", space, words.length, ...words, options.bytes ? (value as Buffer) : json(value)];
  const ttl = valueOf(options.ttl, value);
  if (ttl !== undefined) put.push("TTL", ttl);
  for (const tag of valueOf(options.tags, value) ?? []) put.push("TAG", tag);
  for (const [section, ids] of Object.entries(valueOf(options.rows, value) ?? {})) {
    if (ids.length > 0) put.push("ROW", section, ...ids.map(String));
  }
  return put;
}

export function enqueueWords(space: string, job: string, data: unknown, options: EnqueueOptions): Word[] {
  const words: Word[] = ["BEAR.ENQUEUE", space, job, json(data)];
  if (options.unique !== undefined) words.push("UNIQUE", options.unique);
  if (options.delay !== undefined) words.push("DELAY", options.delay);
  if (options.at !== undefined) words.push("AT", Number(options.at));
  if (options.attempts !== undefined) words.push("ATTEMPTS", options.attempts);
  if (options.backoff !== undefined) words.push("BACKOFF", options.backoff);
  if (options.priority !== undefined) words.push("PRIORITY", options.priority);
  if (options.traceparent !== undefined) words.push("TRACEPARENT", options.traceparent);
  return words;
}

export function claimWords(space: string, options: ClaimOptions): Word[] {
  const words: Word[] = ["BEAR.CLAIM", space];
  if (options.jobs !== undefined && options.jobs.length > 0) words.push("JOB", ...options.jobs);
  if (options.count !== undefined) words.push("COUNT", options.count);
  if (options.lease !== undefined) words.push("LEASE", options.lease);
  if (options.worker !== undefined) words.push("WORKER", options.worker);
  return words;
}

function scheduleWords(space: string, name: string, options: ScheduleOptions): Word[] {
  const words: Word[] = ["BEAR.SCHEDULE", space, name];
  if (options.cron !== undefined) words.push("CRON", options.cron);
  if (options.every !== undefined) words.push("EVERY", options.every);
  if (options.zone !== undefined) words.push("ZONE", options.zone);
  if (options.from !== undefined) words.push("FROM", Number(options.from));
  if (options.until !== undefined) words.push("UNTIL", Number(options.until));
  if (options.limit !== undefined) words.push("LIMIT", options.limit);
  if (options.missed !== undefined) words.push("MISSED", options.missed);
  if (options.job !== undefined) words.push("JOB", options.job, json(options.data));
  if (options.priority !== undefined) words.push("PRIORITY", options.priority);
  if (options.attempts !== undefined) words.push("ATTEMPTS", options.attempts);
  if (options.backoff !== undefined) words.push("BACKOFF", options.backoff);
  if (options.query !== undefined) words.push("QUERY", ...options.query.map(String));
  return words;
}

function jobWords(id: string | { unique: string }): string[] {
  return typeof id === "string" ? [id] : ["UNIQUE", id.unique];
}

function jobOrNull<Data, Result>(reply: Reply): Job<Data, Result> | null {
  return reply === null || reply === undefined ? null : toJob<Data, Result>(reply);
}
