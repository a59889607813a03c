// A job as its handler sees it, and how it can end.
import type { Claim } from "../client/jobs.js";

/** No use to try again: the job fails for good. */
export class UnrecoverableError extends Error {
  override readonly name = "UnrecoverableError";
}

/** The attempt has failed, and the next one comes after so many ms, instead of the job's backoff. */
export class RetryAfter extends Error {
  override readonly name = "RetryAfter";

  constructor(
    readonly ms: number,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Why a job's signal is aborted. */
export class JobAborted extends Error {
  override readonly name = "JobAborted";

  constructor(
    /**
     * `lost`: another worker may have it; nothing that this one says counts. `cancelled`: by BEAR.CANCEL; the handler may
     * still return, and the job is completed then. `closing`: the worker shuts down; the job goes back to its place.
     */
    readonly reason: "lost" | "cancelled" | "closing",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What a worker is told to do for its job. */
export interface JobControl {
  progress(value: unknown): Promise<void>;
  log(text: string): Promise<number>;
}

/** A job that this worker holds, and does. */
export class RunningJob<Data = unknown> implements Claim<Data> {
  readonly id: string;
  readonly job: string;
  readonly data: Data;
  readonly attempt: number;
  readonly attempts: number;
  /** Greater with each claim of the space: what the job writes to may refuse smaller ones. */
  readonly token: number;
  readonly leaseMs: number;
  readonly priority: number;
  readonly enqueued: number;
  readonly space: string;
  /** Of whoever enqueued it, where one was given: the parent of the span in which it is done. */
  declare readonly traceparent?: string;

  constructor(
    claim: Claim<Data>,
    /** Aborted with a JobAborted when the job is this worker's no more, or is not wanted: hand it to what the job waits for. */
    readonly signal: AbortSignal,
    private readonly control: JobControl,
  ) {
    this.id = claim.id;
    this.job = claim.job;
    this.data = claim.data;
    this.attempt = claim.attempt;
    this.attempts = claim.attempts;
    this.token = claim.token;
    this.leaseMs = claim.leaseMs;
    this.priority = claim.priority;
    this.enqueued = claim.enqueued;
    this.space = claim.space;
    if (claim.traceparent !== undefined) this.traceparent = claim.traceparent;
  }

  /** Says how far it is, at most 4 KB of JSON; it is a heartbeat, too. What cannot be sent now goes with the next one. */
  progress(value: unknown): Promise<void> {
    return this.control.progress(value);
  }

  /** Keeps a line of text with the job; its number. */
  log(text: string): Promise<number> {
    return this.control.log(text);
  }
}
