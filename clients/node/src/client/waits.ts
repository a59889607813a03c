// Waiting without a connection for each who waits. A few connections may block; whoever finds none free asks now and then
// on the shared connection instead, more rarely the longer it takes. So a thousand waits need no thousand connections, none
// of them holds up a miss, and each ends soon after what it waits for has come.
import { ConnectionLost, type Connection } from "./connection.js";
import { hasCode, toBearError } from "./errors.js";
import type { Pool } from "./pool.js";

/** What is waited for, in two ways. Undefined: not yet. */
export interface Awaited<T> {
  /** On a connection of one's own, at most so long. */
  block(connection: Connection, ms: number): Promise<T | undefined>;
  /** At once, on the shared connection. */
  ask(): Promise<T | undefined>;
  /** Told that it asks now and then, for no connection was free. */
  asks?(): void;
}

/** Who blocks gives its connection back after so long, to who stands in line for it (a lock, a claim). */
const BLOCK_MS = 1000;
const FIRST_PAUSE_MS = 5;
const MAX_PAUSE_MS = 250;
const RETRY_MS = 100;

export class Waits {
  private readonly pausing = new Map<string, Set<() => void>>();
  private isClosed = false;

  constructor(private readonly pool: Pool) {}

  /** What came, or undefined when the time is up. Lost connections and failovers are waited out. `topic`: see `poke`. */
  async wait<T>(topic: string, awaited: Awaited<T>, timeoutMs: number, signal?: AbortSignal): Promise<T | undefined> {
    const end = performance.now() + timeoutMs;
    let pause = FIRST_PAUSE_MS;
    for (;;) {
      if (this.isClosed) throw new ConnectionLost("this client is closed");
      signal?.throwIfAborted();
      const left = end - performance.now();
      const connection = left >= 1 ? this.pool.tryTake() : undefined;
      try {
        const found = connection ? await awaited.block(connection, Math.ceil(Math.min(left, BLOCK_MS))) : await awaited.ask();
        if (found !== undefined) return found;
      } catch (thrown) {
        const error = toBearError(thrown);
        if (!isPassing(error) || this.isClosed) throw error;
        if (performance.now() + RETRY_MS < end) await this.pause("", RETRY_MS, signal);
      } finally {
        if (connection) this.pool.give(connection);
      }
      const rest = end - performance.now();
      if (rest <= 0) return undefined;
      if (!connection) {
        awaited.asks?.();
        await this.pause(topic, Math.min(pause, rest), signal);
        pause = Math.min(pause * 2, MAX_PAUSE_MS);
      }
    }
  }

  /** What these wait for may have come: they ask now. */
  poke(topic: string): void {
    for (const wake of this.pausing.get(topic) ?? []) wake();
  }

  close(): void {
    this.isClosed = true;
    for (const topic of [...this.pausing.keys()]) this.poke(topic);
  }

  private pause(topic: string, ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.pausing.get(topic) ?? new Set();
      this.pausing.set(topic, waiting);
      const wake = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", wake);
        waiting.delete(wake);
        if (waiting.size === 0 && this.pausing.get(topic) === waiting) this.pausing.delete(topic);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      signal?.addEventListener("abort", wake);
      waiting.add(wake);
    });
  }
}

/** An error after which the same question may have another answer: a lost connection, a failover. */
export function isPassing(error: unknown): boolean {
  return isConnectionError(error) || hasCode(error, "UNBLOCKED", "READONLY", "LOADING", "MASTERDOWN");
}

/** Not an error that the server answered, nor one of this program. */
export function isConnectionError(error: unknown): boolean {
  if (error instanceof ConnectionLost) return true;
  if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError) return false;
  const { name, code } = error as { name: string; code?: unknown };
  if (typeof code === "string" && /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|NR_CLOSED)/.test(code)) return true;
  const names = [name, error.constructor.name];
  if (names.some((each) => /MaxRetriesPerRequest|Client(Closed|Offline)Error|DisconnectsClient|SocketClosed|SocketTimeout|ConnectionTimeout|ReconnectStrategy|CommandTimeout|DuringMaintenance/.test(each))) return true;
  // node-redis gives a call up so, which it had kept for the next connection. An AbortSignal's is a DOMException of that name.
  if (error.constructor.name === "TimeoutError") return true;
  return /^(Connection is closed|Command timed out|Stream isn't writeable|Socket (closed|timeout)|The client is (closed|offline)|Disconnects client|All sentinels are unreachable|no valid master node|None of the sentinels are available)/i.test(error.message);
}
