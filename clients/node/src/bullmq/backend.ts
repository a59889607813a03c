import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type {
  DependenciesOpts,
  FinishedStatus,
  IQueueBackend,
  JobJson,
  JobProgress,
  JobsOptions,
  JobState,
  JobType,
  KeepJobs,
  KeysMap,
  MinimalJob,
  MoveToDelayedOpts,
  MoveToWaitingChildrenOpts,
  ParentKeyOpts,
  QueueBaseOptions,
  RedisClient,
  RedisConnection,
  RepeatableOptions,
  RetryJobOpts,
  RetryOptions,
  StreamReadRaw,
  WorkerOptions,
} from "bullmq";
import { refused, type About } from "./errors.js";
import { payloadTail, toJobJson, toRecord } from "./job-json.js";
import { commandOf, scripts, type ScriptName } from "./lua/index.js";
import { namesOf, type Names } from "./names.js";

/** Part of the names under which scripts are defined on a connection, which other copies of this package may share. */
const SCRIPTS = "1";

/** What the server answers while it reads a queue, or its data, after a start: nothing was done. */
const LATER = /\bNOWAIT\b|^LOADING\b/;

/** How many jobs one script takes up of many, so that the server is not held up: some milliseconds. */
const SLICE = 200;

/** What the script of plain jobs answers to others. */
const NOT_PLAIN = -100;

/** How long a command is sent again that the server could not do yet, ms. */
const PATIENCE_MS = 10_000;

/** What BullMQ calls the keys of a queue. */
const KEY_NAMES = [
  ...["", "active", "wait", "waiting-children", "paused", "id", "delayed", "prioritized", "stalled-check", "completed", "failed"],
  ...["stalled", "repeat", "limiter", "meta", "events", "pc", "marker", "de"],
];

/** What bear takes as a lease, in ms. */
const leaseOf = (ms: number) => Math.min(Math.max(Math.round(ms), 10), 86_400_000);

/** The sorted set in which the jobs of a state stand; of states that bear has not it is empty. */
const standing = (state: string) => (state === "waiting" ? "wait" : state);

/** The rule of a scheduler's job, which BullMQ puts among its options. */
const repeatOf = (options: JobsOptions) => (options as { repeat?: { every?: number; offset?: number } }).repeat ?? {};

/** A job of a flow, with the queue that it is of. */
type FlowEntry = Parameters<IQueueBackend["addFlow"]>[0][number];

type Word = string | number;

/** What the factory makes a backend of. */
export interface Parts {
  queue: string;
  options: QueueBaseOptions;
  section: string;
  connection: RedisConnection;
  blocking?: RedisConnection | undefined;
}

/**
 * BullMQ's queue on bear: each job that waits, is delayed or active is a job of bear's queue, in an open section of which the
 * queue is a tenant. An active one is a claim of bear's: its lease is the lock, and only who has its token ends it.
 *
 * Members are those of `IQueueBackend` of BullMQ 6, where they are described.
 */
export class BearQueueBackend extends EventEmitter implements IQueueBackend {
  closing: Promise<void> | undefined;
  private readonly names: Names;
  private readonly defined = new WeakSet<RedisClient>();

  constructor(
    private readonly parts: Parts,
    /** Whether `close` closes the connections, too. */
    private readonly isOwner = true,
  ) {
    super();
    this.names = namesOf(parts.queue, (parts.options as { prefix?: string }).prefix, parts.section);
    if (!isOwner) return;
    for (const connection of [parts.connection, parts.blocking]) {
      connection?.on("error", (error: Error) => this.emit("error", error));
      connection?.on("ready", () => this.emit("ready"));
    }
    parts.connection.on("close", () => this.emit("close"));
  }

  /** The space of the queue, as bear's commands are given it: `{welcome}:bullmq`. */
  get space(): string {
    return this.names.space;
  }

  /** The connection, for what BullMQ has no word for. */
  get client(): Promise<RedisClient> {
    return this.parts.connection.client;
  }

  get blockingClient(): Promise<RedisClient> | undefined {
    return this.parts.blocking?.client;
  }

  get connection(): RedisConnection {
    return this.parts.connection;
  }

  get blockingConnection(): RedisConnection | undefined {
    return this.parts.blocking;
  }

  get redisVersion(): string {
    return this.parts.connection.redisVersion;
  }

  get databaseType(): string {
    return this.parts.connection.databaseType;
  }

  private get worker(): WorkerOptions {
    return this.parts.options as WorkerOptions;
  }

  // ---- scripts and keys ----

  private key(name: string): string {
    return this.names.base + name;
  }

  private jobKey(id: string): string {
    return this.key(`job:${id}`);
  }

  private async ready(): Promise<RedisClient> {
    const client = await this.parts.connection.client;
    if (!this.defined.has(client)) {
      this.defined.add(client);
      for (const { name, lua } of scripts) {
        const command = commandOf(name, SCRIPTS);
        if (!(client as unknown as Record<string, unknown>)[command]) client.defineCommand(command, { numberOfKeys: 2, lua });
      }
    }
    return client;
  }

  private async run(name: ScriptName, ...words: Word[]): Promise<any> {
    const client = await this.ready();
    const begun = performance.now();
    for (;;) {
      try {
        return await client.runCommand(commandOf(name, SCRIPTS), [this.names.space, this.key("meta"), this.names.base, ...words]);
      } catch (error) {
        const { message } = error as Error;
        if (/Unknown Redis command/i.test(message)) throw new Error(`this Redis has not loaded bear, on which the queue is: ${message}`);
        if (!LATER.test(message) || performance.now() - begun > PATIENCE_MS) throw error;
      }
      await sleep(20);
    }
  }

  /** Runs a script that answers a negative number where it does nothing. */
  private async change(about: About, name: ScriptName, ...words: Word[]) {
    const reply = await this.run(name, ...words);
    if (typeof reply === "number" && reply < 0) throw refused(reply, about);
    return reply;
  }

  // ---- connections ----

  async waitUntilReady(): Promise<void> {
    await this.parts.connection.client;
    await this.parts.blocking?.client;
  }

  async close(force = false): Promise<void> {
    if (!this.isOwner) return;
    this.closing ??= (async () => {
      await this.parts.blocking?.close(force);
      await this.parts.connection.close(force);
    })();
    return this.closing;
  }

  async disconnect(): Promise<void> {
    if (!this.isOwner) return;
    await this.parts.connection.disconnect();
    await this.parts.blocking?.disconnect();
  }

  async setName(name: string): Promise<void> {
    const client = await this.parts.connection.client;
    try {
      await client.clientSetName(name);
    } catch (error) {
      if (!/unknown command ['`]?\s*client\s*['`]?/i.test((error as Error).message) && !this.closing) throw error;
    }
  }

  get minimumBlockTimeout(): number {
    return (this.parts.blocking ?? this.parts.connection).capabilities.canBlockFor1Ms ? 0.001 : 0.002;
  }

  forQueue(queueName: string, prefix?: string): IQueueBackend {
    const options = { ...this.parts.options, ...(prefix === undefined ? {} : { prefix }) };
    return new BearQueueBackend({ ...this.parts, queue: queueName, options }, false);
  }

  // ---- names ----

  get qualifiedName(): string {
    return this.names.qualified;
  }

  get keys(): KeysMap {
    return Object.fromEntries(KEY_NAMES.map((name) => [name, this.toKey(name)]));
  }

  /** The key of that name; of a job BullMQ's name, by which a job of a flow knows its children. */
  toKey(type: string): string {
    return KEY_NAMES.includes(type) || /^(repeat|de|dn|metrics):/.test(type) ? this.key(type) : `${this.names.qualified}:${type}`;
  }

  parseNodeKey(key: string): { prefix: string; queueName: string; id: string } {
    const own = `${(this.parts.options as { prefix?: string }).prefix ?? "bull"}:`;
    if (key.startsWith(own)) {
      const [queueName = "", ...id] = key.slice(own.length).split(":");
      return { prefix: own.slice(0, -1), queueName, id: id.join(":") };
    }
    const words = key.split(":");
    const [queueName = "", id = ""] = words.splice(-2);
    return { prefix: words.join(":"), queueName, id };
  }

  clientName(suffix = ""): string {
    const prefix = (this.parts.options as { prefix?: string }).prefix ?? "bull";
    return `${prefix}:${Buffer.from(this.parts.queue).toString("base64")}${suffix}`;
  }

  // ---- adding ----

  private made(options: JobsOptions): Word[] {
    const dedup = options.deduplication;
    return [options.priority ?? 0, options.lifo ? "1" : "", dedup ? JSON.stringify(dedup) : "", dedup?.id ?? ""];
  }

  private addWords(job: JobJson, id: string, parent: ParentKeyOpts = {}): Word[] {
    const options = job.opts ?? {};
    return [
      id ?? "",
      id ? JSON.stringify(id) : "",
      payloadTail(job.name, job.data ?? "{}"),
      job.name,
      JSON.stringify(options),
      job.timestamp,
      Math.max(Math.floor(options.delay ?? 0), 0),
      ...this.made(options),
      job.repeatJobKey ?? "",
      parent.parentKey ?? job.parentKey ?? "",
      job.parent ? JSON.stringify(job.parent) : "",
      parent.addToWaitingChildren ? "1" : "",
    ];
  }

  private addScript(job: JobJson, parent: ParentKeyOpts = {}): ScriptName {
    const isPlain = !job.opts?.deduplication && !job.parentKey && !parent.parentKey && !parent.addToWaitingChildren;
    return isPlain ? "addPlain" : "add";
  }

  async addJob(job: JobJson, jobId: string, parentKeyOpts?: ParentKeyOpts): Promise<string> {
    const about = { id: jobId, command: "addJob", parent: parentKeyOpts?.parentKey };
    return this.change(about, this.addScript(job, parentKeyOpts), ...this.addWords(job, jobId, parentKeyOpts));
  }

  async addJobs(entries: { job: JobJson; jobId: string; parentKeyOpts?: ParentKeyOpts }[]): Promise<string[]> {
    if (entries.length === 0) return [];
    const client = await this.ready();
    const pipeline = client.pipeline();
    for (const { job, jobId, parentKeyOpts } of entries) {
      const words = this.addWords(job, jobId, parentKeyOpts);
      const command = commandOf(this.addScript(job, parentKeyOpts), SCRIPTS);
      pipeline.runCommand(command, [this.names.space, this.key("meta"), this.names.base, ...words]);
    }
    const replies = (await pipeline.exec()) ?? [];
    return replies.map(([error, id]) => {
      if (error) throw error;
      if (typeof id === "number" && id < 0) throw refused(id, { command: "addJob" });
      return String(id);
    });
  }

  async addFlow(entries: FlowEntry[]): Promise<[Error | null, string | number][]> {
    const client = await this.ready();
    const all = client.multi();
    for (const { jobData, jobId, parentKeyOpts, prefix, queueName } of entries) {
      const { space, base } = namesOf(queueName, prefix, this.parts.section);
      all.runCommand(commandOf(this.addScript(jobData, parentKeyOpts), SCRIPTS), [
        space,
        `${base}meta`,
        base,
        ...this.addWords(jobData, jobId, parentKeyOpts),
      ]);
    }
    return ((await all.exec()) ?? []) as [Error | null, string | number][];
  }

  // ---- claims ----

  private claimWords(token: string, name: string | undefined): Word[] {
    const { lockDuration = 30_000, limiter, maxStalledCount = 1 } = this.worker;
    const lease = leaseOf(lockDuration);
    return [Date.now(), token, lease, name ?? "", limiter?.max ?? "", limiter?.duration ?? "", maxStalledCount];
  }

  /** What BullMQ's worker reads of a claim: [job, id, ms of the rate limit, due of the next delayed job]. */
  private claimed(reply: unknown): any[] {
    if (!Array.isArray(reply)) return [];
    const [fields, id, ttl, due, payload] = reply as [string[] | number, string, number, number, string];
    if (!Array.isArray(fields)) return [undefined, undefined, Number(ttl), Number(due)];
    return [toJobJson(id, toRecord(fields), payload), id, 0, 0];
  }

  async moveToActive(token: string, name?: string): Promise<any[]> {
    return this.claimed(await this.run("claim", ...this.claimWords(token, name)));
  }

  private async finish(
    job: MinimalJob,
    target: FinishedStatus,
    value: string,
    remove: boolean | number | KeepJobs | undefined,
    token: string,
    fetchNext: boolean,
    fields: Record<string, unknown> | undefined,
  ): Promise<{ result: void | any[]; finishedOn: number }> {
    const { removeOnComplete, removeOnFail, metrics, name } = this.worker;
    const keep: { count?: number; age?: number; limit?: number } =
      typeof remove === "object"
        ? remove
        : typeof remove === "number"
          ? { count: remove }
          : remove === undefined
            ? ((target === "completed" ? removeOnComplete : removeOnFail) ?? { count: -1 })
            : { count: remove ? 0 : -1 };
    const now = Date.now();
    const about = { id: job.id, command: "moveToFinished", state: "active" };
    const words: Word[] = [
      job.id ?? "",
      now,
      target,
      value,
      token,
      fetchNext && !this.closing ? "1" : "0",
      keep.count ?? "",
      keep.age ?? "",
      keep.limit ?? 1000,
      job.opts.attempts ?? 0,
      metrics?.maxDataPoints ?? "",
      this.fieldWords(fields),
      ...this.claimWords(token, name),
    ];
    const isPlain = keep.age === undefined && !((keep.count ?? 0) > 0) && !job.parentKey && !job.opts.deduplication;
    let reply: unknown = isPlain ? await this.run("finishPlain", ...words) : NOT_PLAIN;
    if (reply === NOT_PLAIN) reply = await this.run("finish", ...words);
    if (typeof reply === "number" && reply < 0) throw refused(reply, about);
    return { result: this.claimed(reply), finishedOn: now };
  }

  private fieldWords(fields: Record<string, unknown> | undefined): string {
    const known = Object.entries(fields ?? {}).filter(([, value]) => value !== undefined && value !== null);
    return known.length > 0 ? JSON.stringify(known.flatMap(([name, value]) => [name, String(value)])) : "";
  }

  async moveToCompleted<T = any, R = any, N extends string = string>(
    job: MinimalJob<T, R, N>,
    returnValue: R,
    removeOnComplete: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
  ): Promise<{ result: void | any[]; finishedOn: number }> {
    const value = JSON.stringify(returnValue) ?? "null";
    return this.finish(job, "completed", value, removeOnComplete, token, fetchNext, undefined);
  }

  async moveToFailed<T = any, R = any, N extends string = string>(
    job: MinimalJob<T, R, N>,
    failedReason: string,
    removeOnFail: boolean | number | KeepJobs,
    token: string,
    fetchNext: boolean,
    fieldsToUpdate?: Record<string, any>,
  ): Promise<{ result: void | any[]; finishedOn: number }> {
    return this.finish(job, "failed", String(failedReason ?? ""), removeOnFail, token, fetchNext, fieldsToUpdate);
  }

  async moveToDelayed(jobId: string, timestamp: number, delay: number, token = "0", opts: MoveToDelayedOpts = {}): Promise<void | any[]> {
    const reply = await this.change(
      { id: jobId, command: "moveToDelayed", state: "active" },
      "delay",
      jobId,
      timestamp,
      token,
      Math.floor(delay),
      opts.skipAttempt ? "0" : "1",
      this.fieldWords(opts.fieldsToUpdate),
      opts.fetchNext && !this.closing ? "1" : "0",
      ...this.claimWords(token, this.worker.name),
    );
    return this.claimed(reply);
  }

  async moveToWaitingChildren(jobId: string, token: string, opts: MoveToWaitingChildrenOpts = {}): Promise<boolean> {
    const child = opts.child ? `${opts.child.queue}:${opts.child.id}` : "";
    const about = { id: jobId, command: "moveToWaitingChildren", state: "active" };
    return (await this.change(about, "waitForChildren", jobId, token, Date.now(), child)) === 0;
  }

  async moveJobFromActiveToWait(jobId: string, token = "0"): Promise<number> {
    return this.change({ id: jobId, command: "moveJobFromActiveToWait", state: "active" }, "release", jobId, token);
  }

  async retryJob(jobId: string, lifo: boolean, token = "0", opts: RetryJobOpts = {}): Promise<void> {
    const fields = this.fieldWords(opts.fieldsToUpdate);
    await this.change({ id: jobId, command: "retryJob", state: "active" }, "retry", jobId, Date.now(), token, lifo ? "1" : "", fields);
  }

  async retryFinishedJob<T = any, R = any, N extends string = string>(
    job: MinimalJob<T, R, N>,
    state: "failed" | "completed",
    opts: RetryOptions = {},
  ): Promise<void> {
    await this.change(
      { id: job.id, command: "reprocessJob", state },
      "reprocess",
      job.id ?? "",
      state,
      job.opts.lifo ? "1" : "",
      opts.resetAttemptsMade ? "1" : "",
      opts.resetAttemptsStarted ? "1" : "",
    );
  }

  async promote(jobId: string): Promise<void> {
    await this.change({ id: jobId, command: "promote", state: "delayed" }, "promote", jobId);
  }

  async moveStalledJobsToWait(): Promise<string[]> {
    const { maxStalledCount = 1, stalledInterval = 30_000 } = this.worker;
    return this.run("stalled", maxStalledCount, Date.now(), Math.max(Math.round(stalledInterval), 1));
  }

  // ---- many jobs ----

  async retryFinishedJobs(state: FinishedStatus = "failed", count = 1000, timestamp = Date.now()): Promise<number> {
    return this.run("reprocessAll", state, Math.min(count, SLICE), timestamp);
  }

  async promoteJobs(count = 1000): Promise<number> {
    return this.run("reprocessAll", "delayed", Math.min(count, SLICE), "+inf");
  }

  async pause(pause: boolean): Promise<void> {
    await this.run("pause", pause ? "1" : "0");
  }

  async drain(delayed: boolean): Promise<void> {
    for (const state of delayed ? ["wait", "prioritized", "delayed"] : ["wait", "prioritized"]) await this.sweep("drain", state, Infinity);
  }

  /** Runs a script over all jobs of a state, a slice at a time, until it has removed so many. Returns how many it has removed. */
  private async sweep(script: "drain" | "orphans", state: string, most: number): Promise<number> {
    let [from, removed] = [0, 0];
    for (;;) {
      const [seen, gone]: [number, number] = await this.run(script, state, from, Math.min(SLICE, most - removed));
      removed += gone;
      from += seen - gone;
      if (seen === 0 || removed >= most) return removed;
    }
  }

  async cleanJobsByState(state: string, timestamp: number, limit = 0): Promise<string[]> {
    const most = limit > 0 ? limit : Infinity;
    const cleaned: string[] = [];
    for (let from = 0; ; ) {
      const left = Math.min(SLICE, most - cleaned.length);
      const [seen, ids]: [number, string[]] = await this.run("clean", standing(state), timestamp, from, SLICE, left);
      cleaned.push(...ids);
      from += seen - ids.length;
      if (seen === 0 || cleaned.length >= most) break;
    }
    await this.run("cleaned", cleaned.length);
    return cleaned;
  }

  async obliterate(opts: { force: boolean; count: number }): Promise<number> {
    const code: number = await this.run("obliterate", Math.min(opts.count, SLICE), opts.force ? "1" : "");
    if (code === -1) throw new Error("Cannot obliterate non-paused queue");
    if (code === -2) throw new Error("Cannot obliterate queue with active jobs");
    return code;
  }

  async removeOrphanedJobs(_count = 1000, limit = 0): Promise<number> {
    let removed = 0;
    for (const state of ["wait", "prioritized", "delayed", "active", "completed", "failed", "waiting-children"]) {
      removed += await this.sweep("orphans", state, limit > 0 ? limit - removed : Infinity);
      if (limit > 0 && removed >= limit) break;
    }
    return removed;
  }

  // ---- locks ----

  async extendLock(jobId: string, token: string, duration: number): Promise<number> {
    const failed = await this.extendLocks([jobId], [token], duration);
    return failed.length === 0 ? 1 : 0;
  }

  async extendLocks(jobIds: string[], tokens: string[], duration: number): Promise<string[]> {
    const words = jobIds.flatMap((id, at) => [id, tokens[at] ?? ""]);
    return this.run("extend", leaseOf(duration), ...words);
  }

  // ---- changes ----

  async updateData<T = any, R = any, N extends string = string>(job: MinimalJob<T, R, N>, data: T): Promise<void> {
    const json = JSON.stringify(data) ?? "{}";
    await this.change({ id: job.id, command: "updateData" }, "update", job.id ?? "", json, JSON.stringify(job.name));
  }

  async updateProgress(jobId: string, progress: JobProgress): Promise<void> {
    await this.change({ id: jobId, command: "updateProgress" }, "progress", jobId, JSON.stringify(progress) ?? "null");
  }

  async addLog(jobId: string, logRow: string, keepLogs?: number): Promise<number> {
    return this.change({ id: jobId, command: "addLog" }, "addLog", jobId, logRow, keepLogs ?? "");
  }

  async clearLogs(jobId: string, keepLogs?: number): Promise<void> {
    const client = await this.ready();
    const key = `${this.jobKey(jobId)}:logs`;
    if (keepLogs) await client.ltrim(key, -keepLogs, -1);
    else await client.del(key);
  }

  async changeDelay(jobId: string, delay: number): Promise<void> {
    await this.change({ id: jobId, command: "changeDelay", state: "delayed" }, "changeDelay", jobId, Date.now(), Math.floor(delay));
  }

  async changePriority(jobId: string, priority = 0, lifo = false): Promise<void> {
    await this.change({ id: jobId, command: "changePriority" }, "changePriority", jobId, priority, lifo ? "1" : "", Date.now());
  }

  async remove(jobId: string, removeChildren: boolean): Promise<number> {
    return this.change({ id: jobId, command: "removeJob" }, "remove", jobId, removeChildren ? "1" : "");
  }

  async removeUnprocessedChildren(jobId: string): Promise<void> {
    await this.run("removeChildren", jobId);
  }

  async removeChildDependency(jobId: string, parentKey: string): Promise<boolean> {
    return (await this.change({ id: jobId, command: "removeChildDependency", parent: parentKey }, "detach", jobId, parentKey)) === 0;
  }

  async removeDeduplicationKey(deduplicationId: string, jobId: string): Promise<number> {
    return this.run("freeDedup", deduplicationId, jobId);
  }

  async deleteDeduplicationKey(deduplicationId: string): Promise<number> {
    return (await this.ready()).del(this.key(`de:${deduplicationId}`));
  }

  // ---- schedulers ----

  private iteration(options: JobsOptions): { json: string; words: Word[] } {
    const { delay: _delay, jobId: _jobId, ...rest } = options;
    const dedup = options.deduplication;
    return { json: JSON.stringify(rest), words: [options.priority ?? 0, options.lifo ? "1" : "", dedup?.id ?? ""] };
  }

  async addJobScheduler(
    jobSchedulerId: string,
    nextMillis: number,
    templateData: string,
    templateOpts: JobsOptions,
    opts: RepeatableOptions,
    delayedJobOpts: JobsOptions,
    _producerId?: string,
  ): Promise<[string, number]> {
    const { json, words } = this.iteration(delayedJobOpts);
    const reply: [string, string] = await this.change(
      { command: "addJobScheduler" },
      "addScheduler",
      jobSchedulerId,
      nextMillis ?? "",
      templateData || "{}",
      JSON.stringify(templateOpts ?? {}),
      JSON.stringify(opts),
      json,
      Date.now(),
      ...words,
      repeatOf(delayedJobOpts).offset ?? "",
    );
    return [reply[0], Number(reply[1])];
  }

  async updateJobSchedulerNextMillis(
    jobSchedulerId: string,
    nextMillis: number,
    _templateData: string,
    delayedJobOpts: JobsOptions,
    producerId?: string,
  ): Promise<string | null> {
    const { json, words } = this.iteration(delayedJobOpts);
    return this.run(
      "advanceScheduler",
      jobSchedulerId,
      nextMillis ?? "",
      json,
      Date.now(),
      producerId ?? "",
      ...words,
      repeatOf(delayedJobOpts).every ?? "",
      repeatOf(delayedJobOpts).offset ?? "",
    );
  }

  async removeJobScheduler(jobSchedulerId: string): Promise<number> {
    return this.run("removeScheduler", jobSchedulerId);
  }

  async getJobScheduler(id: string): Promise<[any, string | null]> {
    return this.run("getScheduler", id);
  }

  async isJobScheduler(id: string): Promise<boolean> {
    return (await (await this.ready()).hexists(this.key(`repeat:${id}`), "ic")) === 1;
  }

  async getJobSchedulerData(id: string): Promise<Record<string, string>> {
    return (await this.ready()).hgetall(this.key(`repeat:${id}`));
  }

  async getJobSchedulersRange(start: number, end: number, asc: boolean): Promise<string[]> {
    const client = await this.ready();
    const key = this.key("repeat");
    return asc ? client.zrange(key, start, end, { WITHSCORES: true }) : client.zrevrange(key, start, end, { WITHSCORES: true });
  }

  async getJobSchedulersCount(): Promise<number> {
    return (await this.ready()).zcard(this.key("repeat"));
  }

  // ---- questions ----

  async getState(jobId: string): Promise<JobState | "unknown"> {
    const state: string = await this.run("state", jobId);
    return (state === "wait" ? "waiting" : state) as JobState | "unknown";
  }

  async isFinished(jobId: string, returnValue?: boolean): Promise<number | [number, string]> {
    const [status, value]: [number, string] = await this.run("outcome", jobId);
    if (!returnValue) return status;
    return [status, status === -1 ? `Missing key for job ${this.toKey(jobId)}. isFinished` : value];
  }

  async isMaxed(): Promise<boolean> {
    const client = await this.ready();
    const most = await client.hget(this.key("meta"), "concurrency");
    return most !== null && most !== undefined && (await client.zcard(this.key("active"))) >= Number(most);
  }

  async isJobInState(state: string, jobId: string): Promise<boolean> {
    const score = await (await this.ready()).zscore(this.key(standing(state)), jobId);
    return score !== null && score !== undefined;
  }

  async getJobData(jobId: string): Promise<JobJson | undefined> {
    const reply: [string[], string] | null = await this.run("get", jobId);
    return reply ? toJobJson(jobId, toRecord(reply[0]), reply[1]) : undefined;
  }

  async getDeduplicationJobId(deduplicationId: string): Promise<string | null> {
    return (await this.ready()).get(this.key(`de:${deduplicationId}`));
  }

  async getJobLogs(jobId: string, start: number, end: number, asc: boolean): Promise<{ logs: string[]; count: number }> {
    const client = await this.ready();
    const key = `${this.jobKey(jobId)}:logs`;
    const lines = await (asc ? client.lrange(key, start, end) : client.lrange(key, -(end + 1), -(start + 1)));
    return { logs: asc ? lines : [...lines].reverse(), count: await client.llen(key) };
  }

  async getRateLimitTtl(maxJobs?: number): Promise<number> {
    return this.run("limitTtl", maxJobs ? maxJobs : "");
  }

  async getCounts(types: JobType[], delayedTimestamp?: number): Promise<number[]> {
    return this.run("counts", delayedTimestamp ?? "", ...types.map(standing));
  }

  async getCountsPerPriority(priorities: number[]): Promise<number[]> {
    return this.run("countsPerPriority", ...priorities);
  }

  async getRanges(types: JobType[], start = 0, end = -1, asc = false): Promise<[string][]> {
    const ranges: string[][] = await this.run("ranges", start, end, asc ? "1" : "0", ...types.map(standing));
    // BullMQ turns around what are lists in its own Redis backend, where they are asked for in ascending order
    const isList = (type: string) => ["wait", "active", "paused"].includes(standing(type));
    return ranges.map((range, at) => (asc && isList(types[at] ?? "") ? range.reverse() : range)) as [string][];
  }

  async getDependencyCounts(jobId: string, types: string[]): Promise<number[]> {
    return this.run("childCounts", jobId, ...types);
  }

  async getDependencies(jobId: string, opts: DependenciesOpts = {}): ReturnType<IQueueBackend["getDependencies"]> {
    const client = await this.ready();
    const of = (kind: string) => `${this.jobKey(jobId)}:${kind}`;
    const parsed = (values: Record<string, string>) =>
      Object.fromEntries(Object.entries(values).map(([name, json]) => [name, JSON.parse(json)]));
    if (!opts.processed && !opts.unprocessed && !opts.ignored && !opts.failed) {
      return {
        processed: parsed(await client.hgetall(of("processed"))),
        unprocessed: await client.smembers(of("dependencies")),
        ignored: await client.hgetall(of("failed")),
        failed: await client.zrange(of("unsuccessful"), 0, -1),
      };
    }
    const pages = client.pipeline();
    const asked = (["processed", "unprocessed", "ignored", "failed"] as const).filter((kind) => opts[kind]);
    for (const kind of asked) {
      const { cursor = 0, count = 20 } = opts[kind] ?? {};
      if (kind === "processed") pages.hscan(of("processed"), cursor, { COUNT: count });
      if (kind === "unprocessed") pages.sscan(of("dependencies"), cursor, { COUNT: count });
      if (kind === "ignored") pages.hscan(of("failed"), cursor, { COUNT: count });
      if (kind === "failed") pages.zrange(of("unsuccessful"), cursor, cursor + count - 1);
    }
    const found: Awaited<ReturnType<IQueueBackend["getDependencies"]>> = {};
    for (const [at, [error, page]] of ((await pages.exec()) ?? []).entries()) {
      if (error) throw error;
      const kind = asked[at];
      if (kind === "failed") {
        const { cursor = 0, count = 20 } = opts.failed ?? {};
        Object.assign(found, { failed: page, nextFailedCursor: cursor + count });
      } else if (kind === "unprocessed") {
        Object.assign(found, { unprocessed: page[1], nextUnprocessedCursor: Number(page[0]) });
      } else if (kind === "processed") {
        Object.assign(found, { processed: parsed(toRecord(page[1])), nextProcessedCursor: Number(page[0]) });
      } else {
        Object.assign(found, { ignored: toRecord(page[1]), nextIgnoredCursor: Number(page[0]) });
      }
    }
    return found;
  }

  async getProcessedChildrenValues(jobId: string): Promise<Record<string, string>> {
    return (await this.ready()).hgetall(`${this.jobKey(jobId)}:processed`);
  }

  async getIgnoredChildrenFailures(jobId: string): Promise<Record<string, string>> {
    return (await this.ready()).hgetall(`${this.jobKey(jobId)}:failed`);
  }

  async getMetrics(type: "completed" | "failed", start = 0, end = -1): Promise<[string[], string[], number]> {
    return this.run("metrics", type, start, end);
  }

  async getClientList(): Promise<string[]> {
    const client = await this.ready();
    if (client.isCluster && client.nodes) return Promise.all(client.nodes().map((node) => node.clientList()));
    return [await client.clientList()];
  }

  async paginate(
    key: string,
    { start, end, fetchJobs }: { start: number; end: number; fetchJobs?: boolean },
  ): ReturnType<IQueueBackend["paginate"]> {
    // BullMQ pages through the children of a job: <name of the job>:processed or :dependencies
    const at = key.lastIndexOf(":");
    const { id } = this.parseNodeKey(key.slice(0, at));
    const reply: [number, string[], string[], ([string[], string] | null)[]] = await this.run(
      "children",
      id,
      key.slice(at + 1),
      start,
      end,
    );
    const [total, names, values, found] = reply;
    const items = names.map((name, at) => {
      if (!key.endsWith(":processed")) return { id: name };
      try {
        return { id: name, v: JSON.parse(values[at] as string) };
      } catch (error) {
        return { id: name, err: (error as Error).message };
      }
    });
    const jobs = found.flatMap((job, at) => (job ? [toJobJson(this.parseNodeKey(names[at] as string).id, toRecord(job[0]), job[1])] : []));
    return { cursor: "0", items, total, ...(fetchJobs ? { jobs } : {}) };
  }

  // ---- settings ----

  async setQueueMeta(values: Record<string, string | number>): Promise<number> {
    return this.run("setMeta", ...Object.entries(values).flat());
  }

  async getQueueMetaField(field: string): Promise<string | null> {
    return (await this.ready()).hget(this.key("meta"), field);
  }

  async getQueueMetaFields(fields: string[]): Promise<(string | null)[]> {
    return (await this.ready()).hmget(this.key("meta"), ...fields);
  }

  async getQueueMeta(): Promise<Record<string, string>> {
    return (await this.ready()).hgetall(this.key("meta"));
  }

  async removeQueueMetaFields(fields: string[]): Promise<number> {
    return this.run("removeMeta", ...fields);
  }

  async hasQueueMetaField(field: string): Promise<boolean> {
    return (await (await this.ready()).hexists(this.key("meta"), field)) === 1;
  }

  async setRateLimit(expireTimeMs: number): Promise<void> {
    await (await this.ready()).set(this.key("limiter"), Number.MAX_SAFE_INTEGER, { PX: Math.max(Math.round(expireTimeMs), 1) });
  }

  async removeRateLimitKey(): Promise<number> {
    return (await this.ready()).del(this.key("limiter"));
  }

  async removeDeprecatedPriorityKey(): Promise<number> {
    return 0;
  }

  async trimEvents(maxLength: number): Promise<number> {
    return (await this.ready()).xtrim(this.key("events"), "MAXLEN", maxLength, { approximate: true });
  }

  // ---- events ----

  async publishEvent(fields: Record<string, string | number>, maxEvents: number): Promise<string> {
    return (await this.ready()).xadd(this.key("events"), "*", fields, { MAXLEN: maxEvents, approximate: true });
  }

  async readEvents(id: string, blockTimeout: number): Promise<StreamReadRaw> {
    const client = await this.parts.connection.client;
    const reading: Promise<StreamReadRaw> = client.xread([{ key: this.key("events"), id }], { BLOCK: blockTimeout });
    if (blockTimeout <= 0) return reading;
    const connection = this.parts.connection;
    return this.within(connection, reading, blockTimeout, () => connection.reconnect()) as Promise<StreamReadRaw>;
  }

  // ---- waiting for a job ----

  async waitForJob(blockTimeout: number): Promise<{ member: string; score: number } | null> {
    const connection = this.parts.blocking ?? this.parts.connection;
    const client = await connection.client;
    const seconds = connection.capabilities.canDoubleTimeout ? blockTimeout : Math.ceil(blockTimeout);
    const again = () => this.reconnectBlocking();
    const found = await this.within(connection, client.bzpopmin(this.key("marker"), seconds), seconds * 1000, again);
    return found?.[1] ? { member: found[1], score: parseInt(found[2], 10) } : null;
  }

  /**
   * What a blocking command answers, or null a second after it should have. Clients send a blocking command again by themselves
   * after a lost connection, and may never answer; then the connection is made anew.
   */
  private async within<T>(connection: RedisConnection, answer: Promise<T>, ms: number, reconnect: () => Promise<void>): Promise<T | null> {
    answer.catch(() => null); // where it comes after the time nobody listens any more
    const client = await connection.client;
    let isOver = false;
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<null>((resolve) => {
      timer = setTimeout(() => {
        isOver = true;
        client.disconnect(false);
        resolve(null);
      }, ms + 1000);
    });
    try {
      return await Promise.race([answer, over]);
    } finally {
      clearTimeout(timer);
      if (isOver && !this.closing) await reconnect().catch(() => null);
    }
  }

  async disconnectBlocking(wait = true): Promise<void> {
    await this.parts.blocking?.disconnect(wait);
  }

  async reconnectBlocking(): Promise<void> {
    await this.parts.blocking?.reconnect();
  }
}
