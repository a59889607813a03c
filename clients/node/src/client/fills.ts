// Misses without a connection that waits: BEAR.QUERY … NOBLOCK is answered nil, and a message tells how the fetch ended.
// One listener hears of all of this client's. A message may overtake the nil that it belongs to, so whoever asks is
// registered before; and one that is lost (at most once is all that is promised) is waited for no longer than a fetch may take.
import { ConnectionLost, type Connection } from "./connection.js";
import { BearError, type BearErrorCode } from "./errors.js";

/** How a fetch ended. `result` is there where it is small. */
export interface Filled {
  status: "stored" | "struck" | "discarded" | "failed";
  result?: unknown;
  error?: string;
}

export class Fills {
  private readonly waiting = new Map<string, { resolve: (filled: Filled) => void; reject: (error: Error) => void }>();
  private readonly listener: Connection;
  private count = 0;
  private listens = false;

  constructor(
    shared: Connection,
    /** A name that nobody else has. */
    private readonly name: string,
    private readonly timeoutMs: number,
  ) {
    this.listener = shared.duplicate();
    const prefix = `bear:fill:${name}:`;
    const begin = async () => {
      // Its answer comes behind those to the subscriptions, which the client has sent again by now.
      await this.listener.call(["PING"]);
      this.listens = true;
    };
    this.listener.onLost(() => {
      this.listens = false;
      for (const { reject } of this.waiting.values()) reject(new ConnectionLost("the listener's connection was lost"));
      this.waiting.clear();
    });
    this.listener
      .psubscribe(`${prefix}*`, (message, channel) => {
        const number = channel.slice(prefix.length);
        const waiting = this.waiting.get(number);
        if (!waiting) return;
        this.waiting.delete(number);
        waiting.resolve(JSON.parse(message) as Filled);
      })
      .then(() => {
        this.listens = true;
      })
      .catch(() => {}); // connected anew, it subscribes anew
    this.listener.onReady(() => void begin().catch(() => {}));
  }

  /** Would a message be heard? */
  get isListening(): boolean {
    return this.listens && this.listener.isReady;
  }

  /** Asks by `ask`, which is given the name for NOBLOCK: what came at once, or how the fetch ended. */
  async ask<T>(ask: (name: string) => Promise<T | null>): Promise<{ found: T } | { filled: Filled }> {
    const number = String(++this.count);
    let timer: NodeJS.Timeout | undefined;
    const told = new Promise<Filled>((resolve, reject) => {
      this.waiting.set(number, { resolve, reject });
    });
    told.catch(() => {}); // it may fail while nobody waits for it
    try {
      const found = await ask(`${this.name}:${number}`);
      if (found !== null && found !== undefined) return { found };
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new ConnectionLost(`no message came within ${this.timeoutMs} ms`)), this.timeoutMs);
      });
      return { filled: await Promise.race([told, late]) };
    } finally {
      clearTimeout(timer);
      this.waiting.delete(number);
    }
  }

  close(): void {
    this.listener.close();
  }
}

/** The error of a fetch that failed, as who waits for it is told. */
export function errorOf(filled: Filled): BearError {
  const [code, ...words] = (filled.error ?? "ERR the fetch failed").split(" ");
  return new BearError(code as BearErrorCode, words.join(" "));
}
