// A lock that is held while something is done: extended beside, given back in the end.
import { isPassing } from "./waits.js";

/** What `work` is told of its lock. */
export interface HeldLock {
  /** Greater than that of any grant before it in the space: what is written to may refuse smaller ones. */
  readonly token: number;
  /** Aborted when the lock is lost, or cannot be extended before its time is over. */
  readonly signal: AbortSignal;
}

/** The lock was not had in time. */
export class LockNotHad extends Error {
  override readonly name = "LockNotHad";
}

interface Locks {
  lock(space: string, name: string, ms: number, options: { wait?: number }): Promise<number | null>;
  unlock(space: string, name: string, token: number): Promise<boolean>;
  extendLock(space: string, name: string, token: number, ms: number): Promise<boolean>;
}

export async function heldLock<T>(
  locks: Locks,
  space: string,
  name: string,
  options: { ms?: number; wait?: number },
  work: (lock: HeldLock) => T | Promise<T>,
): Promise<T> {
  const ms = options.ms ?? 30_000;
  let extended = performance.now();
  const token = await locks.lock(space, name, ms, options.wait === undefined ? {} : { wait: options.wait });
  if (token === null) throw new LockNotHad(`lock ${name} of ${space} is another's`);
  // Where it was waited for it was granted at some time before the answer came, but not before it was asked for.
  if (options.wait) extended = performance.now();
  const lost = new AbortController();
  const beat = setInterval(async () => {
    const begun = performance.now();
    try {
      if (await locks.extendLock(space, name, token, ms)) extended = begun;
      else lost.abort(new LockNotHad(`lock ${name} of ${space} was lost`));
    } catch (error) {
      if (!isPassing(error)) lost.abort(error);
    }
  }, ms / 3);
  // Of its own: an extension that is not answered must not hide that the time is over.
  const watch = setInterval(() => {
    if (performance.now() - extended >= ms) lost.abort(new LockNotHad(`lock ${name} of ${space} could not be extended`));
  }, Math.max(10, ms / 20));
  try {
    return await work({ token, signal: lost.signal });
  } finally {
    clearInterval(beat);
    clearInterval(watch);
    if (!lost.signal.aborted) await locks.unlock(space, name, token).catch(() => false);
  }
}
