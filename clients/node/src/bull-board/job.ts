// A job of bear as Bull Board's handlers take it.
import type { JobState as BoardState, QueueJob, QueueJobJson } from "@bull-board/api/typings/app";
import type { Job } from "../client/jobs.js";

/** What a job on the board can be asked for: the adapter does it. */
export interface JobActions {
  retry(job: Job, state: string | undefined): Promise<void>;
  remove(job: Job): Promise<void>;
  promote(job: Job): Promise<void>;
  update(job: Job, data: unknown): Promise<void>;
  state(job: Job): Promise<BoardState>;
}

export class BoardJob implements QueueJob {
  readonly id: string;
  readonly name: string;
  readonly data: unknown;
  readonly opts: Record<string, unknown>;
  readonly progress: string | boolean | number | object;

  constructor(
    /** As the client shows it. */
    readonly job: Job,
    readonly queueName: string,
    private readonly actions: JobActions,
  ) {
    this.id = job.id;
    this.name = job.job;
    this.data = job.data;
    this.opts = optionsOf(job);
    this.progress = progressOf(job.progress);
  }

  /** What Bull Board looks a BullMQ queue up by, when it looks for flows; no queue of BullMQ has such a name. */
  get queueQualifiedName(): string {
    return `bear:${this.queueName}`;
  }

  promote(): Promise<void> {
    return this.actions.promote(this.job);
  }

  remove(): Promise<void> {
    return this.actions.remove(this.job);
  }

  retry(state?: string): Promise<void> {
    return this.actions.retry(this.job, state);
  }

  updateData(data: Record<string, any>): Promise<void> {
    return this.actions.update(this.job, data);
  }

  getState(): Promise<BoardState> {
    return this.actions.state(this.job);
  }

  toJSON(): QueueJobJson {
    const { job } = this;
    const isCompleted = job.state === "completed";
    const delay = delayOf(job);
    // When a batch began nothing tells. Without a start the board counts from 1970.
    const started = job.started ?? (job.finished === null ? null : Math.min(job.finished, Math.max(job.enqueued ?? job.finished, job.due ?? 0)));
    return {
      id: job.id,
      name: job.job,
      data: job.data === undefined ? null : job.data,
      opts: this.opts,
      progress: this.progress,
      attemptsMade: job.attempts,
      timestamp: job.enqueued ?? Number(job.id.split("-", 1)[0]),
      ...(started === null ? {} : { processedOn: started }),
      ...(job.worker === null ? {} : { processedBy: job.worker }),
      ...(job.finished === null ? {} : { finishedOn: job.finished }),
      ...(delay === undefined ? {} : { delay }),
      // The board shows a job that has either as failed: of a completed one, its earlier attempts stand among the options.
      failedReason: isCompleted ? "" : failedReason(job),
      stacktrace: isCompleted ? [] : stacks(job),
      returnvalue: job.result,
      ...(job.priority === null ? {} : { priority: job.priority }),
      ...(job.unique === null ? {} : { deduplicationId: job.unique }),
    };
  }
}

function delayOf(job: Job): number | undefined {
  return job.state === "delayed" && job.due !== null && job.enqueued !== null ? Math.max(0, job.due - job.enqueued) : undefined;
}

/** What `add` takes, so that Duplicate makes the like; and below `bear` what Bull Board has no place for. */
function optionsOf(job: Job): Record<string, unknown> {
  const has = (value: unknown) => value !== null && value !== undefined;
  const some = (fields: Record<string, unknown>) => Object.fromEntries(Object.entries(fields).filter(([, value]) => has(value)));
  const { error, errors } = job;
  const bear = some({
    rows: job.rows,
    sqlstate: error?.sqlstate,
    due: job.state === "delayed" ? undefined : job.due,
    unique: job.unique,
    token: job.token,
    leaseEnds: job.leaseEnds,
    cancelled: job.cancelled,
    traceparent: (job as { traceparent?: unknown }).traceparent,
    failedAttempts: job.state === "completed" && errors !== null && errors.length > 0 ? errors : undefined,
    data: job.data === undefined ? "left out of the record" : undefined,
  });
  return some({
    attempts: job.maxAttempts,
    backoff: job.backoff,
    priority: job.priority,
    delay: delayOf(job),
    bear: Object.keys(bear).length > 0 ? bear : undefined,
  });
}

function progressOf(progress: unknown): string | boolean | number | object {
  if (progress === null || progress === undefined) return 0;
  return Array.isArray(progress) ? JSON.stringify(progress) : (progress as string | boolean | number | object);
}

function failedReason(job: Job): string {
  if (job.error === null) return "";
  const { message, sqlstate } = job.error;
  return sqlstate === null || sqlstate === undefined ? message : `${message} (SQLSTATE ${sqlstate})`;
}

/** One text for each failed attempt, the oldest first. */
function stacks(job: Job): string[] {
  if (job.errors !== null && job.errors.length > 0) {
    return job.errors.map(({ attempt, message, stack, worker, at }) => {
      const where = [worker, at === null ? null : new Date(at).toISOString()].filter((each) => each !== null && each !== undefined);
      return `attempt ${attempt}${where.length > 0 ? ` (${where.join(", ")})` : ""}: ${stack?.includes(message) ? stack : `${message}${stack ? `\n${stack}` : ""}`}`;
    });
  }
  return job.stack ? [job.stack] : [];
}
