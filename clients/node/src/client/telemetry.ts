// Where a tracing library is let in: this package imports none.
import type { RunningJob } from "../worker/job.js";

export interface Telemetry {
  /** The `traceparent` of the span that is active now: of what is enqueued without one of its own. Undefined: there is none. */
  traceparent?(): string | undefined;
  /** Does a job by `run`, within a span whose parent is `job.traceparent`; what `run` returns is returned, what it throws is thrown. */
  process?<T>(job: RunningJob, run: () => Promise<T>): Promise<T>;
}
