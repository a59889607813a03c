// A space of bear on Bull Board: SQL jobs, claimed ones, or both.
//
// Bull Board asks all its queues at once and answers 500 where one of them throws. So what it asks of all (counts, pauses,
// workers, schedules, the list of jobs) never rejects here: where the section has gone, or Redis is away, the answer is
// empty and the queue's description says why. What somebody asks of this queue alone (remove a job, clean) rejects with a
// Refusal, whose text the board shows.
import { BaseAdapter } from "@bull-board/api/dist/queueAdapters/base.js";
import type {
  AppJobScheduler, JobCleanStatus, JobCounts, JobSchedulerRepeatOptions, JobSchedulerUpdateResult, JobState as BoardState, JobStatus, MetricsType,
  ObliterateOptions, QueueAdapterOptions, QueueDefaultJobOptions, QueueJob, QueueJobOptions, QueueMetrics, QueueRateLimit, QueueWorker, Status,
} from "@bull-board/api/typings/app";
import type { Bear } from "../client/bear.js";
import type { Word } from "../client/connection.js";
import { hasCode } from "../client/errors.js";
import {
  toFieldsDeep, toJob, toSchedule, toStats, type EnqueueOptions, type Job, type JobState, type Schedule, type ScheduleOptions, type Stats,
} from "../client/jobs.js";
import { toList } from "../client/replies.js";
import { BoardJob, type JobActions } from "./job.js";
import { Minutes } from "./minutes.js";
import { Refusal, textOf, toRefusal } from "./refusal.js";
import { sectionOf, toSection, type Section } from "./section.js";

export interface BearAdapterOptions extends Partial<QueueAdapterOptions> {
  /** What the queue is called on the board, below `prefix`. Default: the space. */
  name?: string;
  /** Told of what made an answer empty. */
  onError?: (error: unknown) => void;
}

/** Of completed jobs for Postgres so many are counted: the module does not tell how many records it keeps. */
const COUNTED = 1000;
/** BEAR.JOBS lists so many at a time. */
const LISTED = 1000;
/** BEAR.RETRY takes so many ids. */
const RETRIED = 200;
/** The catalog is read again after so long. */
const SECTION_MS = 10_000;
const MINUTE_MS = 60_000;
const UNAVAILABLE = "unavailable: ";

const STATES: readonly JobState[] = ["active", "waiting", "completed", "failed", "delayed"];
const UNITS: Record<number, string> = { 1000: "s", 60_000: "m", 3_600_000: "h", 86_400_000: "d" };
/** Job ids: what else the board's address names is no job. */
const ID = /^[0-9]+-[0-9]+$/;

export class BearAdapter extends BaseAdapter {
  private section: Section | undefined;
  private sectionRead = -Infinity;
  private reading: Promise<void> | undefined;
  private asking: Promise<Stats> | undefined;
  private hint = 0;
  private readonly notices = new Map<string, { text: string; at: number }>();
  private readonly completed = new Minutes();
  private readonly failed = new Minutes();
  /** The newest failures that have been counted. */
  private counted = { upTo: 0, ids: new Set<string>() };
  private isSeeded = false;
  private readingFailed: Promise<void> | undefined;
  private ticking: NodeJS.Timeout | undefined;
  private isClosed = false;
  private retrying: { id: string; resolve: () => void; reject: (error: unknown) => void }[] = [];
  private readonly name: string;

  constructor(
    private readonly bear: Bear,
    /** A section, or `{tenant}:section`. */
    readonly space: string,
    private readonly settings: BearAdapterOptions = {},
  ) {
    super("bullmq", { ...settings, allowCompletedRetries: false });
    this.name = settings.name ?? space;
    void this.readSection();
  }

  // --- what it is -----------------------------------------------------------------------------------------------------

  getName(): string {
    return `${this.prefix}${this.name}`;
  }

  /** With what is wrong in front. */
  override getDescription(): string {
    const texts = new Set([...this.notices.values()].map(({ text }) => text));
    const [unavailable] = [...texts].filter((text) => text.startsWith(UNAVAILABLE)); // the others fail for the same reason, or are told next
    return [unavailable, ...[...texts].filter((text) => !text.startsWith(UNAVAILABLE)), this.description].filter(Boolean).join(" · ");
  }

  override getDisplayName(): string {
    const isGone = [...this.notices.values()].some(({ text }) => text.startsWith(UNAVAILABLE));
    return isGone ? `${this.displayName || this.getName()} (unavailable)` : this.displayName;
  }

  override getJobDataSchema(): Record<string, any> | undefined {
    return this.jobDataSchema ?? this.section?.schema;
  }

  getStatuses(): Status[] {
    return ["latest", ...this.getJobStatuses()];
  }

  getJobStatuses(): JobStatus[] {
    return [...STATES];
  }

  // Bull Board asks queues of type "bullmq" for these when it looks for flows, of which bear has none.
  getQueueName(): string {
    return this.name;
  }

  getQueueQualifiedName(): string {
    return `bear:${this.getName()}`;
  }

  async getFlowProducer(): Promise<null> {
    return null;
  }

  async getClient(): Promise<null> {
    return null;
  }

  /** Ends the timer of the metrics. The client stays the application's. */
  close(): void {
    this.isClosed = true;
    clearTimeout(this.ticking);
  }

  // --- counts and lists -----------------------------------------------------------------------------------------------

  async getJobCounts(): Promise<JobCounts> {
    const counts = await this.orEmpty("counts", {} as Partial<Record<Status, number>>, async () => {
      const [stats] = await Promise.all([this.stats(), this.readSection()]);
      this.watch(stats);
      return {
        active: stats.active, waiting: stats.waiting, completed: await this.keptCompleted(stats), failed: stats.failed, delayed: stats.delayed,
      };
    });
    const none = { active: 0, waiting: 0, "waiting-children": 0, prioritized: 0, completed: 0, failed: 0, delayed: 0, paused: 0 };
    return { ...none, ...counts } as JobCounts;
  }

  /** Newest first. */
  async getJobs(jobStatuses: JobStatus[], start = 0, end = start + 99): Promise<QueueJob[]> {
    const states = STATES.filter((state) => jobStatuses.some((status) => toState(status) === state));
    const lists = await Promise.all(
      states.map((state) => this.orEmpty("jobs", [] as Job[], () => this.list(state, start, end < 0 ? Infinity : end - start + 1))),
    );
    const jobs = lists.flat();
    if (states.length > 1) jobs.sort((one, other) => timeOf(other) - timeOf(one));
    return jobs.map((job) => this.onBoard(job, true));
  }

  async getJob(id: string): Promise<QueueJob | undefined> {
    if (!ID.test(id)) return undefined;
    const job = await this.orEmpty("job", undefined, () => this.find(id));
    return job === undefined ? undefined : this.onBoard(job, false);
  }

  async getJobLogs(id: string): Promise<string[]> {
    if (!ID.test(id)) return [];
    return this.orEmpty("logs", [], async () => (await this.bear.logs(this.space, id, { count: 1000 })).map(({ text }) => text));
  }

  async getMetrics(type: MetricsType, start?: number, end?: number): Promise<QueueMetrics> {
    await this.orEmpty("metrics", undefined, async () => {
      await this.stats();
      await this.readFailed();
    });
    return (type === "completed" ? this.completed : this.failed).metrics(Date.now(), start, end);
  }

  async getRedisInfo(): Promise<string | null> {
    return this.orEmpty("info", null, async () => String(await this.bear.send(["INFO"], { failFast: true })));
  }

  override async getDatastoreStats(): Promise<null> {
    return null;
  }

  override async getWorkers(): Promise<QueueWorker[] | null> {
    return this.orEmpty("workers", null, async () => {
      const [stats] = await Promise.all([this.stats(), this.readSection()]);
      const { sql, claimed, isOpen } = this.section ?? { sql: new Set(), claimed: new Set(), isOpen: false };
      const hasClaimed = claimed.size > 0 || isOpen;
      const workers = stats.workers?.map(({ name, address, lastSeen }) => ({
        id: `${name} ${address}`, name: name === "" ? null : name, addr: address, age: Math.round((lastSeen ?? 0) / 1000),
      }));
      if (sql.size === 0) return hasClaimed ? (workers ?? null) : null;
      // Jobs for Postgres are applied by the module's own threads.
      const { connection } = stats;
      const appliers = connection === "up" ? [{ id: "appliers", name: "bear's appliers", addr: "in Redis", age: 0 }] : connection === "not yet" ? undefined : [];
      if (hasClaimed) return workers === undefined ? null : [...(appliers ?? []), ...workers];
      return appliers ?? null;
    });
  }

  // --- the queue ------------------------------------------------------------------------------------------------------

  async isPaused(): Promise<boolean> {
    return this.orEmpty("counts", false, async () => (await this.stats()).paused === 1);
  }

  /** As `resume` it may be asked of all queues at once: where it cannot be had, the description says so. */
  async pause(): Promise<void> {
    await this.orEmpty("pause", undefined, () => this.change(() => this.bear.pause(this.space)));
  }

  async resume(): Promise<void> {
    await this.orEmpty<unknown>("pause", undefined, async () => {
      // BEAR.RESUME would also begin a new ledger in place of one that is lost, which is not what this button says.
      const { ledger } = await this.freshStats();
      if (ledger.startsWith("LEDGER")) {
        const text = "not resumed: the ledger is lost, and BEAR.RESUME would accept that; read docs/operation/lost-ledger.md, and send it by hand";
        this.notices.set("resume", { text, at: performance.now() });
        return this.settings.onError?.(new Refusal(409, text));
      }
      await this.change(() => this.bear.resume(this.space));
    });
  }

  /** As BullMQ's: jobs that wait go, delayed ones stay. */
  async empty(): Promise<void> {
    await this.orRefuse(() => this.bear.clean(this.space, "waiting"));
  }

  async clean(status: JobCleanStatus, graceTimeMs: number): Promise<void> {
    const state = toState(status);
    if (state === undefined) return; // there are no jobs in such a state
    if (state === "active") throw new Refusal(409, "active jobs are not removed: BEAR.CANCEL has their workers end them");
    await this.orRefuse(() => this.bear.clean(this.space, state, graceTimeMs > 0 ? { older: Math.ceil(graceTimeMs) } : {}));
  }

  /** All jobs and records go; the section, its pause and its schedules stay. With `force` active jobs are cancelled. */
  async obliterate({ force = false }: ObliterateOptions = {}): Promise<void> {
    await this.orRefuse(async () => {
      const { active } = await this.freshStats();
      if (active > 0 && !force) throw new Error("Cannot obliterate queue with active jobs"); // Bull Board knows it by its text
      for (const state of ["waiting", "delayed"] as const) await this.bear.clean(this.space, state);
      if (active > 0) for (const { id } of await this.list("active", 0, Infinity)) await this.bear.cancel(this.space, id).catch(() => {}); // it has just ended
      for (const state of ["completed", "failed"] as const) await this.bear.clean(this.space, state);
    });
  }

  async promoteAll(): Promise<void> {
    await this.orRefuse(() => this.bear.promote(this.space, "all"));
  }

  async addJob(name: string, data: any, options: QueueJobOptions): Promise<QueueJob> {
    return this.orRefuse(async () => {
      await this.readSection();
      const job = this.jobNamed(name);
      const given = toEnqueueOptions(options ?? {});
      const id = await this.bear.enqueue(this.space, job, data ?? {}, given);
      // A record is not kept of every job: one may have been done already.
      return this.onBoard((await this.find(id)) ?? unknownJob(id, job, data), false);
    });
  }

  // --- limits ---------------------------------------------------------------------------------------------------------

  async getGlobalConcurrency(): Promise<number | null> {
    return this.orEmpty("counts", null, async () => (await this.stats()).limits.concurrency ?? null);
  }

  async setGlobalConcurrency(concurrency: number): Promise<void> {
    await this.orRefuse(() => this.bear.limitQueue(this.space, { concurrency: Math.max(0, concurrency) }));
  }

  override get supportsGlobalRateLimit(): boolean {
    return this.section === undefined || this.section.claimed.size > 0 || this.section.isOpen;
  }

  override async getConfiguredRateLimit(): Promise<QueueRateLimit | null> {
    return this.orEmpty("counts", null, async () => toRateLimit((await this.stats()).limits.rate ?? null));
  }

  override async setConfiguredRateLimit({ max, duration }: QueueRateLimit): Promise<void> {
    const unit = UNITS[duration];
    if (unit === undefined) throw new Refusal(400, "a rate of bear is one by second, minute, hour or day: a duration of 1000, 60000, 3600000 or 86400000 ms");
    await this.orRefuse(() => this.bear.limitQueue(this.space, { rate: `${max}/${unit}` }));
  }

  override async removeConfiguredRateLimit(): Promise<void> {
    await this.orRefuse(() => this.bear.limitQueue(this.space, { rate: 0 }));
  }

  /** How long a fixed window is closed; the rates of bear slide. */
  override async getActiveRateLimitTtl(): Promise<number> {
    return 0;
  }

  override async releaseActiveRateLimit(): Promise<void> {
    throw new Refusal(400, "a rate of bear has a window that slides, and nothing to be released; another rate holds at once");
  }

  override getQueueDefaultJobOptions(): QueueDefaultJobOptions {
    return {};
  }

  // --- schedules ------------------------------------------------------------------------------------------------------

  async getJobSchedulers(): Promise<Omit<AppJobScheduler, "queueName">[]> {
    return this.orEmpty("schedules", [], async () => (await this.schedules()).map(toScheduler));
  }

  async getJobSchedulersCount(): Promise<number> {
    return this.orEmpty("schedules", 0, async () => (await this.schedules()).length);
  }

  /** No job stands for a schedule's next tick: each may be removed. */
  override async getArmedJobSchedulerId(_job: QueueJob): Promise<null> {
    return null;
  }

  async removeJobScheduler(id: string): Promise<boolean> {
    return this.orRefuse(() => this.bear.unschedule(this.space, id));
  }

  override get supportsJobSchedulerUpdate(): boolean {
    return true;
  }

  async updateJobScheduler(id: string, { pattern, every, tz, limit, endDate }: JobSchedulerRepeatOptions): Promise<JobSchedulerUpdateResult> {
    return this.orRefuse(async () => {
      const schedule = (await this.schedules()).find(({ name }) => name === id);
      if (schedule === undefined) return "not-found";
      if (schedule.source === "catalog") throw new Refusal(409, `schedule '${id}' is of the catalog: it is changed there, by BEAR.RELOAD`);
      const rule: ScheduleOptions = {
        ...(pattern === undefined ? {} : { cron: pattern, ...(tz === undefined ? {} : { zone: tz }) }),
        ...(every === undefined || pattern !== undefined ? {} : { every }),
        ...(limit === undefined ? {} : { limit }),
        ...(endDate === undefined ? {} : { until: endDate }),
        ...(schedule.from === null ? {} : { from: schedule.from }),
        missed: schedule.missed,
      };
      const { query = schedule.query?.split(" "), ...stored } = await this.stored(id);
      const work: ScheduleOptions = schedule.job === null ? { query: query ?? [] } : { job: schedule.job, data: schedule.data, ...stored };
      try {
        await this.bear.schedule(this.space, id, { ...rule, ...work });
        return "updated";
      } catch (error) {
        if (pattern !== undefined && hasCode(error, "ERR") && error.message.includes(pattern)) return "invalid-schedule";
        throw error;
      }
    });
  }

  override get supportsJobSchedulerRun(): boolean {
    return true;
  }

  async runJobSchedulerNow(id: string): Promise<QueueJob | "not-found"> {
    return this.orRefuse(async () => {
      const schedule = (await this.schedules()).find(({ name }) => name === id);
      if (schedule === undefined) return "not-found";
      if (schedule.job === null) throw new Refusal(400, `schedule '${id}' fetches a query and makes no job`);
      const { query: _, ...options } = schedule.source === "command" ? await this.stored(id) : {};
      const job = await this.bear.enqueue(this.space, schedule.job, schedule.data, options);
      return this.onBoard((await this.find(job)) ?? unknownJob(job, schedule.job, schedule.data), false);
    });
  }

  // --- jobs -----------------------------------------------------------------------------------------------------------

  private onBoard(job: Job, isListed: boolean): QueueJob {
    const actions: JobActions = {
      state: async ({ id, state }) => (isListed ? state : ((await this.find(id))?.state ?? "unknown") as BoardState),
      retry: (each, state) => this.retry(each, state, isListed),
      promote: async ({ id }) => void (await this.orRefuse(() => this.bear.promote(this.space, id))),
      remove: async ({ id, job: name, state }) => {
        if (await this.orRefuse(() => this.bear.remove(this.space, id))) return;
        if (state === "completed" && this.section?.sql.has(name)) {
          throw new Refusal(409, "records of completed jobs for Postgres are not removed one by one: they go with time, or all of them by Clean");
        }
        throw new Refusal(404, `there is no job ${id} any more`);
      },
      update: async ({ id, job: name, state }, data) => {
        if (this.section?.sql.has(name)) throw new Refusal(409, "jobs for Postgres have the payload with which they were enqueued: remove this one, and add another");
        if (state === "failed" || state === "completed") throw new Refusal(409, `a job that has ${state} keeps its payload: duplicate it with another`);
        await this.orRefuse(() => this.bear.update(this.space, id, data));
      },
    };
    return new BoardJob(job, this.getName(), actions);
  }

  private retry(job: Job, state: string | undefined, isListed: boolean): Promise<void> {
    if ((state ?? job.state) !== "failed") return Promise.reject(new Refusal(400, "only failed jobs are retried; a completed one can be duplicated"));
    if (!isListed) return this.orRefuse(async () => void (await this.bear.retry(this.space, [job.id])));
    // Retry all: the board asks for each job of a page, in one go.
    return new Promise((resolve, reject) => {
      if (this.retrying.push({ id: job.id, resolve, reject }) > 1) return;
      setImmediate(() => {
        const asked = this.retrying.splice(0);
        this.orRefuse(() => this.retryAll(asked.map(({ id }) => id))).then(
          () => asked.forEach(({ resolve }) => resolve()),
          (error: unknown) => asked.forEach(({ reject }) => reject(error)),
        );
      });
    });
  }

  private async retryAll(ids: readonly string[]): Promise<void> {
    if (ids.length > RETRIED) {
      for (let at = 0; at < ids.length; at += RETRIED) await this.retryAll(ids.slice(at, at + RETRIED));
      return;
    }
    try {
      await this.bear.retry(this.space, ids);
    } catch (error) {
      if (ids.length === 1) throw error;
      if (hasCode(error, "TOOLARGE")) {
        const half = ids.length >> 1;
        await this.retryAll(ids.slice(0, half));
        return this.retryAll(ids.slice(half));
      }
      // All of them or none: one does not fit any more, or has gone. Those that fit are not held up by it.
      const retried = await this.bear.retry(this.space, "all");
      const still = new Set((await this.list("failed", 0, LISTED)).map(({ id }) => id));
      const refused = ids.filter((id) => still.has(id));
      if (refused.length > 0) throw new Refusal(409, `${retried.length} jobs were enqueued again; ${still.size} stay failed, as ${refused[0]}: ${textOf(error)}`, { cause: error });
    }
  }

  private jobNamed(name: string): string {
    if (name !== "" && name !== "__default__") return name; // which is what the board says for none
    const { sql, claimed } = this.section ?? { sql: new Set<string>(), claimed: new Set<string>() };
    const names = [...sql, ...claimed];
    const [only] = names;
    if (only === undefined || names.length > 1) throw new Refusal(400, names.length > 1 ? `which job? ${this.space} has ${names.sort().join(", ")}` : "which job? Give its name");
    return only;
  }

  // --- what the server is asked ---------------------------------------------------------------------------------------

  private ask(...words: Word[]) {
    return this.bear.send(words, { failFast: true });
  }

  /** One BEAR.STATS for all that the board asks at once. */
  private stats(): Promise<Stats> {
    if (this.asking !== undefined) return this.asking;
    const asking = this.freshStats().finally(() => {
      if (this.asking === asking) this.asking = undefined;
    });
    return (this.asking = asking);
  }

  private async freshStats(): Promise<Stats> {
    const stats = toStats(await this.ask("BEAR.STATS", this.space));
    const now = Date.now();
    this.completed.read(stats.completed, now);
    this.failed.read(stats.failedTotal, now);
    this.tick();
    return stats;
  }

  /** What is asked after it sees what it has changed. */
  private async change<T>(does: () => Promise<T>): Promise<T> {
    try {
      return await does();
    } finally {
      this.asking = undefined;
    }
  }

  private async find(id: string): Promise<Job | undefined> {
    const reply = await this.ask("BEAR.JOB", this.space, id);
    return reply === null || reply === undefined ? undefined : toJob(reply);
  }

  private async list(state: JobState, start: number, most: number): Promise<Job[]> {
    const jobs: Job[] = [];
    while (jobs.length < most) {
      const count = Math.min(LISTED, most - jobs.length);
      const page = toList(await this.ask("BEAR.JOBS", this.space, state, "NEWEST", "OFFSET", start + jobs.length, "COUNT", count)).map((each) => toJob(each));
      if (page.length === 0) break; // a page that is shorter than asked for may have been cut by its size
      jobs.push(...page);
    }
    return jobs;
  }

  private async schedules(): Promise<Schedule[]> {
    return toList(await this.ask("BEAR.SCHEDULES", this.space)).map(toSchedule);
  }

  /** What BEAR.SCHEDULES does not tell of a schedule that a command made: options of its job, the words of its query. */
  private async stored(name: string): Promise<Pick<ScheduleOptions, "priority" | "attempts" | "backoff" | "query">> {
    let stored = await this.ask("HGET", `${this.space}:queue:schedules`, name);
    if (typeof stored !== "string" && !this.space.startsWith("{")) stored = await this.ask("HGET", `{${this.space}}:queue:schedules`, name); // in a cluster
    if (typeof stored !== "string") return {};
    const { priority, attempts, backoff, query } = JSON.parse(stored) as ScheduleOptions;
    return Object.fromEntries(Object.entries({ priority, attempts, backoff, query }).filter(([, value]) => value !== undefined && value !== null));
  }

  private async keptCompleted(stats: Stats): Promise<number> {
    const { section } = this;
    if (section !== undefined && section.sql.size === 0 && stats.completedKept !== null) return stats.completedKept;
    // Of jobs for Postgres nothing tells how many records are kept: the place of the last one is looked for.
    let low = 0;
    let high = Math.min(stats.completed, COUNTED);
    const probe = async (count: number) => {
      if (count <= low || count > high) return;
      const [there] = toList(await this.ask("BEAR.JOBS", this.space, "completed", "NEWEST", "OFFSET", count - 1, "COUNT", 1));
      if (there !== undefined) low = count;
      else high = count - 1;
    };
    await probe(high);
    await probe(Math.min(this.hint, high)); // as many as before
    await probe(low + 1);
    while (low < high) await probe(Math.ceil((low + high) / 2));
    return (this.hint = low);
  }

  /** The catalog, where it was read a while ago. Whoever may not read it sees the queue all the same. */
  private readSection(): Promise<void> {
    if (Date.now() - this.sectionRead < SECTION_MS) return Promise.resolve();
    return (this.reading ??= this.ask("BEAR.CATALOG", sectionOf(this.space))
      .then(
        (reply) => {
          this.section = toSection(toFieldsDeep(reply, ["jobs"]));
          this.sectionRead = Date.now();
        },
        () => {},
      )
      .finally(() => (this.reading = undefined)));
  }

  // --- what the board is told -----------------------------------------------------------------------------------------

  /** What operators should know of a queue that answers. */
  private watch(stats: Stats): void {
    const say = (topic: string, isWrong: boolean, text: string) => (isWrong ? this.notices.set(topic, { text, at: performance.now() }) : this.notices.delete(topic));
    say("keys", stats.keys !== "ok", stats.keys);
    say("ledger", stats.ledger.startsWith("LEDGER"), stats.ledger);
    say("refused", stats.refused.length > 0, `Postgres refuses ${stats.refused.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join("; ")}`);
    const isApplied = this.section !== undefined && this.section.sql.size > 0;
    say("connection", isApplied && stats.connection !== "up" && stats.connection !== "not yet", `no jobs are applied to Postgres: ${stats.connection}`);
  }

  /** What the board asks of all its queues: never rejects. */
  private async orEmpty<T>(topic: string, empty: T, ask: () => Promise<T>): Promise<T> {
    const began = performance.now();
    try {
      const answer = await ask();
      // Where the queue has counts, what failed earlier has passed; where it has not, it is told anew.
      if (topic === "counts") this.forget((at, each) => at < began - (each === "resume" ? MINUTE_MS : 0));
      this.notices.delete(topic);
      return answer;
    } catch (error) {
      this.notices.set(topic, { text: UNAVAILABLE + textOf(error), at: performance.now() });
      this.settings.onError?.(error);
      return empty;
    }
  }

  private forget(which: (at: number, topic: string) => boolean): void {
    for (const [topic, { at }] of this.notices) if (which(at, topic)) this.notices.delete(topic);
  }

  /** What somebody asks of this queue. */
  private async orRefuse<T>(does: () => Promise<T>): Promise<T> {
    try {
      return await this.change(does);
    } catch (error) {
      throw toRefusal(error);
    }
  }

  // --- metrics --------------------------------------------------------------------------------------------------------

  /** The counters are read at the end of each minute, too, while nobody looks at the board. */
  private tick(): void {
    if (this.ticking !== undefined || this.isClosed) return;
    this.ticking = setTimeout(() => {
      this.ticking = undefined;
      const again = () => this.tick();
      this.freshStats().then(() => this.readFailed()).catch(again); // Redis is away: once it is there, what was missed is laid over that time
    }, MINUTE_MS - (Date.now() % MINUTE_MS)).unref();
  }

  /** Failures of jobs for Postgres, of which there is no counter, by their records; and, once, all that records tell of the time before. */
  private readFailed(): Promise<void> {
    return (this.readingFailed ??= this.countFailed().finally(() => (this.readingFailed = undefined)));
  }

  private async countFailed(): Promise<void> {
    if (!this.isSeeded) {
      await this.seed();
      this.isSeeded = true;
    }
    const { upTo, ids } = this.counted;
    const isFresh = ({ id, finished }: Job) => (finished ?? 0) > upTo || (finished === upTo && !ids.has(id));
    const fresh: Job[] = [];
    for (let offset = 0; ; offset += 20) {
      const page = toList(await this.ask("BEAR.JOBS", this.space, "failed", "NEWEST", "OFFSET", offset, "COUNT", 20)).map((each) => toJob(each));
      fresh.push(...page.filter(isFresh));
      if (page.length === 0 || !page.every(isFresh)) break;
    }
    for (const { job, finished } of fresh) if (this.section?.sql.has(job)) this.failed.add(finished ?? 0);
    this.countedUpTo(fresh);
  }

  private countedUpTo(jobs: readonly Job[]): void {
    const upTo = Math.max(this.counted.upTo, ...jobs.map(({ finished }) => finished ?? 0));
    const ids = jobs.filter(({ finished }) => finished === upTo).map(({ id }) => id);
    this.counted = { upTo, ids: new Set(upTo === this.counted.upTo ? [...this.counted.ids, ...ids] : ids) };
  }

  private async seed(): Promise<void> {
    await this.readSection();
    const [completed, failed] = await Promise.all([this.list("completed", 0, LISTED), this.list("failed", 0, LISTED)]);
    const isEarlier = (minutes: Minutes, { finished }: Job) => finished !== null && finished <= minutes.since; // the counters tell of the others
    for (const job of completed) if (isEarlier(this.completed, job)) this.completed.add(job.finished ?? 0);
    for (const job of failed) if (isEarlier(this.failed, job) || this.section?.sql.has(job.job)) this.failed.add(job.finished ?? 0);
    this.countedUpTo(failed);
  }
}

/** bear's state for Bull Board's; none for those that only BullMQ has. */
function toState(status: string): JobState | undefined {
  if (status === "wait") return "waiting";
  return STATES.find((state) => state === status);
}

function timeOf(job: Job): number {
  return job.finished ?? job.started ?? job.enqueued ?? 0;
}

function unknownJob(id: string, job: string, data: unknown): Job {
  return {
    id, job, state: "completed", data, attempts: 0, enqueued: Number(id.split("-", 1)[0]), due: null, finished: null, error: null, result: null, rows: null,
    worker: null, token: null, started: null, leaseEnds: null, maxAttempts: null, backoff: null, unique: null, progress: null, priority: null, stack: null,
    log: null, errors: null, cancelled: null,
  };
}

/** Options of BullMQ that BEAR.ENQUEUE has, too. */
function toEnqueueOptions(options: Record<string, any>): EnqueueOptions {
  const { delay, attempts, backoff, priority, jobId, deduplication, bear: _, timestamp: __, ...others } = options;
  const unknown = Object.keys(others).filter((name) => others[name] !== undefined && others[name] !== null && others[name] !== false);
  if (unknown.length > 0) throw new Refusal(400, `bear's jobs have no ${unknown.join(", ")}: delay, attempts, backoff (ms), priority, jobId (a UNIQUE key)`);
  const unique = jobId ?? deduplication?.id;
  const pause = typeof backoff === "object" && backoff !== null && !Array.isArray(backoff) ? backoff.delay : backoff;
  return {
    ...(unique === undefined ? {} : { unique: String(unique) }),
    ...(delay ? { delay: Number(delay) } : {}),
    ...(attempts ? { attempts: Number(attempts) } : {}),
    ...(typeof pause === "number" ? { backoff: pause } : {}), // steps are the catalog's: a duplicate has them anyhow
    ...(priority ? { priority: Number(priority) } : {}),
  };
}

/** `80/s` */
function toRateLimit(rate: string | null): QueueRateLimit | null {
  const [, max, unit] = /^([0-9]+)\/([smhd])$/.exec(rate ?? "") ?? [];
  const [duration] = Object.entries(UNITS).find(([, each]) => each === unit) ?? [];
  return max === undefined || duration === undefined ? null : { max: Number(max), duration: Number(duration) };
}

function toScheduler(schedule: Schedule): Omit<AppJobScheduler, "queueName"> {
  const { name, job, query, cron, every, zone, limit, from, until, next, last, lastOutcome, count, missed, source, data } = schedule;
  const [soonest] = next;
  return {
    id: name,
    name: job ?? `query ${query ?? ""}`,
    ...(cron === null ? {} : { pattern: cron }),
    ...(every === null ? {} : { every }),
    ...(zone === null ? {} : { tz: zone }),
    ...(limit === null ? {} : { limit }),
    ...(from === null ? {} : { startDate: from }),
    ...(until === null ? {} : { endDate: until }),
    ...(soonest === undefined ? {} : { next: soonest }),
    ...(last === null ? {} : { lastRun: last }),
    ...(lastOutcome !== null && ID.test(lastOutcome) ? { lastRunJobId: lastOutcome } : {}),
    iterationCount: count,
    template: {
      ...(job === null ? {} : { data }),
      opts: { source, missed, ...(lastOutcome === null || ID.test(lastOutcome) ? {} : { lastOutcome }) },
    },
  };
}
