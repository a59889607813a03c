// Does the jobs of a space that workers claim. Three connections, however many jobs at a time:
//
//   claimer   BEAR.CLAIM … COUNT <free places> BLOCK, and nothing else, for what is sent behind it waits
//   control   heartbeats (BEAR.EXTEND at a third of each lease), outcomes, progress, logs
//   ear       hears of BEAR.CANCEL; a heartbeat would tell of it later
//
// A job's life here:
//
//   claimed ──> running ──> returned ───────────────> ACK, again and again until it is answered
//                  │   └──> threw ──────────────────> FAIL; RELEASE where its signal is aborted
//                  └ LOST, says the server ─────────> nothing more is said of it
//
// The invariant: of each claim one outcome is sent, again and again until the server has answered. Whether it counts the
// server decides by the token, also after a silence of more than the lease: leases do not run while Redis is down.
import { EventEmitter } from "node:events";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Bear, claimWords } from "../client/bear.js";
import { connectionOf, type RedisLike } from "../client/connect.js";
import type { Connection, Reply, Word } from "../client/connection.js";
import { hasCode, toBearError } from "../client/errors.js";
import { toClaim, type Claim } from "../client/jobs.js";
import { toList } from "../client/replies.js";
import type { Telemetry } from "../client/telemetry.js";
import { isPassing } from "../client/waits.js";
import { JobAborted, RetryAfter, RunningJob, UnrecoverableError } from "./job.js";

/** Does a job; what it returns is the job's result (JSON of at most 64 KB), what it throws the error of this attempt. */
export type Handler<Data = any, Result = unknown> = (job: RunningJob<Data>) => Result | Promise<Result>;

export interface WorkerOptions {
  /** Jobs at a time. Default 5. */
  concurrency?: number;
  /** For operators; default: host name and pid. */
  name?: string;
  /** Lease of a claim in ms, at least 10; default: as the catalog says of the job type. */
  lease?: number;
  /** How long one BEAR.CLAIM waits, in ms. Default 5,000. */
  block?: number;
  /** How long `close` waits for jobs that run, in ms, before it aborts them and gives them back. Default 10,000. */
  grace?: number;
  /** Begins by itself. Default true; false: `start()`. */
  autorun?: boolean;
  /** Instead of the client's, where it is given one. */
  telemetry?: Telemetry;
}

export interface WorkerEvents {
  /** A job begins. */
  active: [job: RunningJob];
  /** Its outcome is recorded. */
  completed: [job: RunningJob, result: unknown];
  /** The attempt has failed; `state` is what follows. */
  failed: [job: RunningJob, error: unknown, state: "delayed" | "waiting" | "failed"];
  /** The job is another's, or was given back: what was done for it counts no more. */
  lost: [job: RunningJob, reason: Error];
  /** Given back: the worker closes, or the job was cancelled. */
  released: [job: RunningJob, state: "waiting" | "failed"];
  /** Something went wrong that the worker goes on after, such as a lost connection. Nobody has to listen. */
  error: [error: Error];
  closed: [];
}

interface Running {
  job: RunningJob;
  abort: AbortController;
  /** When the lease was last known to begin, by performance.now(). */
  extended: number;
  progress: unknown;
  hasProgress: boolean;
  isOver: boolean;
  /** Ends its timers. */
  stop(): void;
  done: Promise<void>;
}

const GRACE_MS = 5000;
const RETRY_MS = [50, 100, 200, 400, 800];
/** How long handlers may take to end after they were aborted by `close`. */
const ABORTED_MS = 500;

export class Worker extends EventEmitter<WorkerEvents> {
  readonly name: string;
  readonly concurrency: number;
  private readonly shared: Connection;
  private readonly telemetry: Telemetry | undefined;
  private readonly handlers: ReadonlyMap<string, Handler> | Handler;
  private readonly running = new Map<string, Running>();
  private claimer: Connection | undefined;
  private control: Connection | undefined;
  private ear: Connection | undefined;
  private claiming: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private isPaused = false;
  private isGivenUp = false;
  private isClaiming = false;
  private claimerId: number | undefined;
  private wake: () => void = () => {};

  constructor(
    redis: RedisLike | Bear,
    /** A section, or a tenant's; of a section with tenants: jobs of all of them, in turn. */
    readonly space: string,
    /** One for all jobs, or one for each type; only these are claimed. */
    handlers: Handler | Readonly<Record<string, Handler>>,
    private readonly options: WorkerOptions = {},
  ) {
    super();
    this.shared = redis instanceof Bear ? redis.connection : connectionOf(redis);
    this.telemetry = options.telemetry ?? (redis instanceof Bear ? redis.options.telemetry : undefined);
    this.handlers = typeof handlers === "function" ? handlers : new Map(Object.entries(handlers));
    this.name = options.name ?? `${hostname()}-${process.pid}`;
    this.concurrency = options.concurrency ?? 5;
    if (!(this.concurrency >= 1)) throw new RangeError(`concurrency is at least 1, and this is ${this.concurrency}`);
    if (options.autorun !== false) this.start();
  }

  /** Jobs that it holds. */
  get active(): readonly RunningJob[] {
    return [...this.running.values()].map(({ job }) => job);
  }

  start(): void {
    if (this.claiming || this.closing) return;
    const { space } = this;
    this.claimer = this.shared.duplicate({ space });
    this.control = this.shared.duplicate({ space });
    this.ear = this.shared.duplicate({ space });
    this.ear.subscribe(`bear:events:${this.space}`, (message) => this.heard(String(message))).catch((error: unknown) => this.tell(error));
    this.claiming = this.claim();
  }

  /** Claims no more for now; what runs goes on. */
  pause(): void {
    this.isPaused = true;
    void (async () => {
      while (this.isClaiming && this.isPaused && !this.closing) await this.unblock();
    })();
  }

  resume(): void {
    this.isPaused = false;
    this.wake();
  }

  /**
   * Claims no more, and waits for what runs, at most `grace` ms; then it is aborted, and given back. In the end nothing of this
   * worker is held, as far as Redis can be reached.
   */
  close(options: { grace?: number } = {}): Promise<void> {
    this.closing ??= this.end(options.grace ?? this.options.grace ?? 10_000);
    return this.closing;
  }

  // --- claiming -----------------------------------------------------------------------------------------------------

  private async claim(): Promise<void> {
    const block = this.options.block ?? 5000;
    const jobs = this.handlers instanceof Map ? [...this.handlers.keys()] : [];
    const { lease } = this.options;
    let failures = 0;
    while (!this.closing) {
      const free = this.concurrency - this.running.size;
      if (free <= 0 || this.isPaused) {
        await new Promise<void>((resolve) => (this.wake = resolve));
        await new Promise(setImmediate); // those that end together are replaced together
        continue;
      }
      const words = claimWords(this.space, { jobs, count: Math.min(free, 1000), worker: this.name, ...(lease === undefined ? {} : { lease }) });
      this.isClaiming = true;
      try {
        const claimer = this.claimer as Connection;
        claimer.call(["CLIENT", "ID"]).then((id) => (this.claimerId = Number(id)), () => {});
        // A lost answer may have been a claim: nobody sends it again, and the lease of what it was ends by itself.
        const reply = await claimer.call([...words, "BLOCK", block], { timeoutMs: block + GRACE_MS });
        this.isClaiming = false;
        failures = 0;
        for (const each of toList(reply)) this.begin(toClaim(each));
      } catch (thrown) {
        this.isClaiming = false;
        if (this.closing) break;
        this.tell(thrown);
        if (hasCode(toBearError(thrown), "READONLY", "UNBLOCKED", "MASTERDOWN")) this.claimer?.reset(); // the master is another one now
        await sleep(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
      }
    }
  }

  private begin(claim: Claim): void {
    const abort = new AbortController();
    const job = new RunningJob(claim, abort.signal, {
      progress: async (value) => {
        running.progress = value;
        running.hasProgress = true;
        await this.extend(running);
      },
      log: async (text) => Number(await this.send(["BEAR.LOG", claim.space, claim.id, claim.token, text])),
    });
    const running: Running = { job, abort, extended: performance.now(), progress: undefined, hasProgress: false, isOver: false, stop: () => {}, done: Promise.resolve() };
    this.running.set(keyOf(claim), running);
    running.done = this.run(running).finally(() => {
      this.running.delete(keyOf(claim));
      this.wake();
    });
  }

  private async run(running: Running): Promise<void> {
    const { job, abort } = running;
    const beat = setInterval(() => void this.extend(running).catch(() => {}), job.leaseMs / 3);
    // Of its own: a heartbeat that is not answered must not hide that the lease is over.
    const watch = setInterval(() => {
      if (performance.now() - running.extended >= job.leaseMs) this.lose(running, new JobAborted("lost", `no word from Redis for the lease of ${job.leaseMs} ms`));
    }, Math.max(5, job.leaseMs / 20));
    running.stop = () => {
      clearInterval(beat);
      clearInterval(watch);
    };
    try {
      let report: Word[];
      let ended: { result: unknown } | { error: unknown };
      try {
        if (this.closing) abort.abort(new JobAborted("closing", "the worker closes"));
        abort.signal.throwIfAborted();
        this.emit("active", job);
        const handler = typeof this.handlers === "function" ? this.handlers : (this.handlers as ReadonlyMap<string, Handler>).get(job.job);
        if (!handler) throw new UnrecoverableError(`this worker has no handler for ${job.job}`);
        const run = async () => handler(job);
        ended = { result: await (this.telemetry?.process ? this.telemetry.process(job, run) : run()) };
        report = ["BEAR.ACK", job.space, job.id, job.token, ...this.resultWords(ended.result)];
      } catch (error) {
        ended = { error };
        report = this.failure(running, error);
      }
      running.isOver = true;
      if (hasCode((abort.signal.reason as Error | undefined)?.cause, "LOST")) this.emit("lost", job, abort.signal.reason as Error);
      else await this.report(running, report, ended);
    } finally {
      running.stop();
    }
  }

  private resultWords(result: unknown): Word[] {
    if (result === undefined) return [];
    try {
      return ["RESULT", JSON.stringify(result) ?? "null"];
    } catch (error) {
      this.tell(error); // it is done: that its result cannot be kept changes nothing of it
      return [];
    }
  }

  private failure(running: Running, error: unknown): Word[] {
    const { job, abort } = running;
    const head = [job.space, job.id, job.token];
    // A cancelled one is failed by this, and one of a worker that closes costs no attempt.
    if (abort.signal.aborted) return ["BEAR.RELEASE", ...head];
    const message = error instanceof Error ? error.message || error.name : String(error);
    const words: Word[] = ["BEAR.FAIL", ...head, message];
    if (error instanceof UnrecoverableError || (error as { name?: string } | null)?.name === "UnrecoverableError") words.push("FINAL");
    else if (error instanceof RetryAfter) words.push("BACKOFF", Math.max(0, Math.round(error.ms)));
    if (error instanceof Error && error.stack) words.push("STACK", error.stack);
    return words;
  }

  /** Sends an outcome until it is answered. The heartbeats go on meanwhile: the job is held until it is reported. */
  private async report(running: Running, words: Word[], ended: { result: unknown } | { error: unknown }): Promise<void> {
    const { job } = running;
    for (let attempt = 0; ; attempt++) {
      try {
        const reply = await this.send(words, job.leaseMs);
        running.stop();
        if (words[0] === "BEAR.ACK") this.emit("completed", job, "result" in ended ? ended.result : undefined);
        else if (words[0] === "BEAR.RELEASE") this.emit("released", job, reply as "waiting" | "failed");
        else this.emit("failed", job, "error" in ended ? ended.error : undefined, reply as "delayed" | "waiting" | "failed");
        return;
      } catch (error) {
        if (hasCode(error, "LOST")) {
          // The first one may have arrived, and its answer been lost.
          if (attempt > 0 && words[0] === "BEAR.ACK" && error.message.includes("it is completed")) {
            this.emit("completed", job, "result" in ended ? ended.result : undefined);
          } else this.emit("lost", job, error);
          return;
        }
        if (this.isGivenUp) return; // `end` gives it back
        this.tell(error);
        if (words[0] === "BEAR.ACK" && words.includes("RESULT") && hasCode(error, "TOOLARGE", "ERR")) {
          words = words.slice(0, 4); // as above
          continue;
        }
        if (!isPassing(error)) return; // its lease will end
        await sleep(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
      }
    }
  }

  // --- heartbeats and cancellations ---------------------------------------------------------------------------------

  private async extend(running: Running): Promise<void> {
    const { job, abort } = running;
    const known = reasonOf(running);
    if (known === "cancelled" || hasCode((abort.signal.reason as Error | undefined)?.cause, "LOST")) return;
    const begun = performance.now();
    const words: Word[] = ["BEAR.EXTEND", job.space, job.id, job.token];
    const { progress } = running;
    if (running.hasProgress) words.push("PROGRESS", JSON.stringify(progress) ?? "null");
    try {
      await this.send(words, Math.max(1000, job.leaseMs / 3));
      running.extended = begun;
      if (running.progress === progress) running.hasProgress = false;
    } catch (error) {
      if (hasCode(error, "LOST") && !running.isOver) this.lose(running, new JobAborted("lost", error.message, { cause: error }));
      else if (hasCode(error, "CANCELLED")) abort.abort(new JobAborted("cancelled", error.message, { cause: error }));
      else if (!isPassing(error) && !hasCode(error, "LOST")) {
        if (running.progress === progress) running.hasProgress = false; // too large, or no JSON: not again
        throw error;
      }
    }
  }

  private lose(running: Running, reason: JobAborted): void {
    if (!running.abort.signal.aborted) running.abort.abort(reason);
  }

  private heard(message: string): void {
    if (!message.includes('"cancelled"')) return;
    const told = JSON.parse(message) as { event?: string; space?: string; id?: string; token?: number; message?: string };
    if (told.event !== "cancelled") return;
    const running = this.running.get(`${told.space} ${told.id}`);
    if (running && running.job.token === told.token) running.abort.abort(new JobAborted("cancelled", told.message ?? "cancelled"));
  }

  // --- the end ------------------------------------------------------------------------------------------------------

  private async end(grace: number): Promise<void> {
    await Promise.resolve(); // `closing` is set
    this.wake();
    if (this.claiming) {
      let hasEnded = false;
      void this.claiming.then(() => (hasEnded = true));
      while (!hasEnded) await this.unblock();
      await this.claiming; // what it has claimed meanwhile is given back by `run`
    }
    const all = () => Promise.allSettled([...this.running.values()].map(({ done }) => done));
    await within(all(), grace);
    for (const { abort } of this.running.values()) abort.abort(new JobAborted("closing", "the worker closes"));
    await within(all(), ABORTED_MS);
    // Handlers that do not listen go on; their jobs are given back without them.
    this.isGivenUp = true;
    for (const running of this.running.values()) running.stop();
    await within(
      Promise.allSettled(
        [...this.running.values()]
          .filter(({ isOver }) => !isOver)
          .map(async ({ job }) => {
            const state = await this.send(["BEAR.RELEASE", job.space, job.id, job.token], GRACE_MS);
            this.emit("released", job, state as "waiting" | "failed");
          }),
      ),
      GRACE_MS,
    );
    for (const each of [this.claimer, this.control, this.ear]) each?.close();
    this.emit("closed");
  }

  /** Ends the wait of the claim under way: it answers with nothing, so that nothing is claimed and not heard of, as where the connection is cut. */
  private async unblock(): Promise<void> {
    if (this.isClaiming) {
      if (!this.claimer?.isReady) this.claimer?.reset(); // it waits for a connection, and holds nothing
      else if (this.claimerId !== undefined) await this.send(["CLIENT", "UNBLOCK", this.claimerId], GRACE_MS).catch(() => {});
    }
    await sleep(10); // the claim may not have arrived yet: again
  }

  private async send(words: readonly Word[], timeoutMs?: number): Promise<Reply> {
    const control = this.control as Connection;
    try {
      return await control.call(words, timeoutMs === undefined ? {} : { timeoutMs });
    } catch (thrown) {
      const error = toBearError(thrown);
      if (hasCode(error, "READONLY", "MASTERDOWN")) control.reset(); // the master is another one now
      throw error;
    }
  }

  private tell(thrown: unknown): void {
    const error = toBearError(thrown);
    // Without a listener an emitter would throw.
    if (this.listenerCount("error") > 0) this.emit("error", error instanceof Error ? error : new Error(String(error)));
  }
}

function keyOf({ space, id }: { space: string; id: string }): string {
  return `${space} ${id}`;
}

function reasonOf({ abort }: Running): JobAborted["reason"] | undefined {
  return (abort.signal.reason as JobAborted | undefined)?.reason;
}

async function within(work: Promise<unknown>, ms: number): Promise<void> {
  const timer = new AbortController();
  await Promise.race([work, sleep(ms, undefined, { signal: timer.signal }).catch(() => {})]);
  timer.abort();
}
