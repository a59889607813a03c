// Several jobs in one call of a handler: those that a worker begins at once, as it does with what one BEAR.CLAIM has brought.
import type { RunningJob } from "./job.js";
import type { Handler } from "./worker.js";

/** Does some jobs; what it returns is each one's result, by its place. An Error in a place is that job's alone; what it throws is all's. */
export type BatchHandler<Data = any, Result = unknown> = (jobs: readonly RunningJob<Data>[]) => BatchResults<Result> | Promise<BatchResults<Result>>;

export type BatchResults<Result> = readonly (Result | Error | undefined)[] | void;

/**
 * A handler that is given up to `max` jobs of its type at once. Each stays a job of its own: its heartbeats, its signal, its outcome. A
 * worker claims as many as it has free places, so its `concurrency` is at least `max`.
 */
export function inBatches<Data = any, Result = unknown>(max: number, handler: BatchHandler<Data, Result>): Handler<Data, Result | undefined> {
  if (!(max >= 1)) throw new RangeError(`a batch is of at least 1, and this is ${max}`);
  let open: { jobs: RunningJob<Data>[]; results: Promise<BatchResults<Result>> } | undefined;
  return async (job) => {
    if (open === undefined || open.jobs.length >= max) {
      const jobs: RunningJob<Data>[] = [];
      const results = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
        if (open === batch) open = undefined;
        return handler(jobs);
      });
      const batch = (open = { jobs, results });
    }
    const { jobs, results } = open;
    const at = jobs.push(job) - 1;
    const result = (await results)?.[at];
    if (result instanceof Error) throw result;
    return result;
  };
}
