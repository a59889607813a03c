// Copies of results in the memory of the process. Redis tells of each key that changes (CLIENT TRACKING in broadcast mode),
// on a connection of its own, and the copy goes.
//
// The invariant: of a copy that is kept, every invalidation that came after its reply was made will be heard, or has been
// heard and taken into account. Replies come on one connection and invalidations on another, in any order:
//
//      ask ──────────── reply made ─────────── reply read ──> copy kept
//                             └─ invalidation ─┘     └─ invalidation: the copy is dropped
//                                 heard here: the ask is struck, no copy
//
// So each ask is registered before it is sent, and what is invalidated while asks are under way is remembered until they
// have ended. A copy is made of hits alone, and of those whose key is seen in Redis afterwards: what a miss fetched may be
// stored nowhere (a struck fetch, a value that is still being published), and nothing would tell of its end.
import type { Connection, Reply } from "./connection.js";
import { toFields } from "./replies.js";

export interface CopiesOptions {
  /** Copies at most. Default 1,000. */
  max?: number;
  /** Life of a copy in ms, at most that of the result in Redis. Default 10,000. */
  ttl?: number;
  /** Characters of all copies' JSON together, at most. Default 32 million. */
  maxChars?: number;
  /** How often the connection that hears is asked for a sign of life, in ms; one that gives none for as long again counts as broken. Default 1,000. */
  heartbeat?: number;
}

export interface CopiesStats {
  /** Invalidations are heard, and copies kept. */
  isOn: boolean;
  size: number;
  chars: number;
  hits: number;
  misses: number;
  /** Copies that an invalidation took. */
  dropped: number;
  /** Replies of which no copy was made because an invalidation overtook them. */
  struck: number;
  /** How often all copies went at once: the connection broke, or Redis said that all is cold. */
  emptied: number;
}

interface Copy {
  value: unknown;
  key: string;
  ends: number;
  chars: number;
  wasHit: boolean;
}

/** An ask under way. */
export interface Ask {
  readonly call: string;
  readonly space: string;
  readonly began: number;
  readonly era: number;
}

const CHANNEL = "__redis__:invalidate";
/** Of keys with this prefix the tombstone tells that many entries go at once; each of them is told later. */
const MODULE_PREFIX = "bear.module:";
const TOMBSTONE = /^bear\.module:(\{.*\}:)?cold$/;
/** Looking up keys is background work: of more at once no copy is made. */
const MAX_LOOKUPS = 64;
const LOOKUP_TIMEOUT_MS = 5000;

export class Copies {
  private readonly copies = new Map<string, Copy>();
  private readonly calls = new Map<string, Set<string>>();
  private readonly asks = new Set<Ask>();
  private readonly struckKeys = new Map<string, number>();
  private readonly lookups = new Set<string>();
  /** What is heard of, and since which moment. */
  private readonly prefixes = new Map<string, number>();
  private readonly max: number;
  private readonly ttl: number;
  private readonly maxChars: number;
  private readonly heartbeat: number;
  private readonly counts = { hits: 0, misses: 0, dropped: 0, struck: 0, emptied: 0 };
  private chars = 0;
  /** Counts asks and invalidations, so that it is known which came first. */
  private moment = 0;
  private emptiedAt = 0;
  /** Counts the times that it began to hear; what was asked in an earlier one is not kept. */
  private era = 0;
  private hears = false;
  private ears: Ears | undefined;
  private retry: NodeJS.Timeout | undefined;
  private attempts = 0;
  private isClosed = false;

  constructor(
    private readonly shared: Connection,
    options: CopiesOptions,
    private readonly onError: (error: unknown) => void,
  ) {
    this.max = options.max ?? 1000;
    this.ttl = options.ttl ?? 10_000;
    this.maxChars = options.maxChars ?? 32_000_000;
    this.heartbeat = options.heartbeat ?? 1000;
    this.listen();
  }

  /** The copy of a call, or undefined. */
  get(call: string): Copy | undefined {
    const copy = this.copies.get(call);
    if (copy === undefined || copy.ends < performance.now()) {
      this.counts.misses++;
      if (copy !== undefined) this.drop(call, copy);
      return undefined;
    }
    this.counts.hits++;
    copy.wasHit = true;
    return copy;
  }

  /** Before a call is sent. Undefined: no copy is to be made of what comes. */
  begin(space: string, call: string): Ask | undefined {
    if (!this.hears) return undefined;
    const ask = { call, space, began: ++this.moment, era: this.era };
    this.asks.add(ask);
    return ask;
  }

  /** Nothing is kept of it. */
  give(ask: Ask | undefined): void {
    if (ask === undefined || !this.asks.delete(ask)) return;
    if (this.asks.size === 0) this.struckKeys.clear();
  }

  /** A hit came: keeps a copy if that is safe, beside. */
  keep(ask: Ask | undefined, words: readonly string[], text: string): void {
    if (ask === undefined) return;
    if (ask.era !== this.era || this.lookups.has(ask.call) || this.lookups.size >= MAX_LOOKUPS || text.length > this.maxChars / 4) {
      return this.give(ask);
    }
    this.lookups.add(ask.call);
    this.look(ask, words, text)
      .catch((error: unknown) => {
        if (ask.era === this.era) this.onError(error); // else the connection is another one by now
      })
      .finally(() => {
        this.lookups.delete(ask.call);
        this.give(ask);
      });
  }

  stats(): CopiesStats {
    return { isOn: this.hears, size: this.copies.size, chars: this.chars, ...this.counts };
  }

  /** Drops all copies. */
  clear(): void {
    this.emptiedAt = ++this.moment;
    if (this.copies.size > 0) this.counts.emptied++;
    this.copies.clear();
    this.calls.clear();
    this.chars = 0;
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.retry);
    this.deafen();
    this.ears?.close();
  }

  private async look(ask: Ask, words: readonly string[], text: string): Promise<void> {
    const ears = this.ears;
    if (ears === undefined) return;
    const explained = toFields(await ears.call(["BEAR.EXPLAIN", ask.space, ...words]));
    const key = String(explained["key"]);
    const prefix = prefixOf(key, ask.space);
    const since = this.prefixes.get(prefix);
    if (since === undefined) return this.hearAlso(prefix);
    if (since > ask.began) return; // nobody told what came between
    const left = Number(explained["ttlMs"] ?? 0);
    if (left <= 0) return;
    // From here on its end will be told: it is there, and it is tracked.
    if (Number(await ears.call(["EXISTS", key])) !== 1) return;
    if (this.isStruck(ask, key)) {
      this.counts.struck++;
      return;
    }
    this.add(ask.call, { value: freeze(JSON.parse(text)), key, ends: performance.now() + Math.min(this.ttl, left), chars: text.length, wasHit: false });
  }

  private isStruck(ask: Ask, key: string): boolean {
    return !this.hears || ask.era !== this.era || this.emptiedAt > ask.began || (this.struckKeys.get(key) ?? 0) > ask.began;
  }

  private add(call: string, copy: Copy): void {
    const old = this.copies.get(call);
    if (old) this.drop(call, old);
    this.copies.set(call, copy);
    this.chars += copy.chars;
    const calls = this.calls.get(copy.key);
    if (calls) calls.add(call);
    else this.calls.set(copy.key, new Set([call]));
    // The oldest go first; one that was hit since has another round.
    while (this.copies.size > this.max || this.chars > this.maxChars) {
      const [oldest, its] = this.copies.entries().next().value as [string, Copy];
      this.copies.delete(oldest);
      if (its.wasHit && its !== copy) {
        its.wasHit = false;
        this.copies.set(oldest, its);
        continue;
      }
      this.copies.set(oldest, its);
      this.drop(oldest, its);
    }
  }

  private drop(call: string, copy: Copy): void {
    if (!this.copies.delete(call)) return;
    this.chars -= copy.chars;
    const calls = this.calls.get(copy.key);
    calls?.delete(call);
    if (calls?.size === 0) this.calls.delete(copy.key);
  }

  private heard(keys: string[] | null): void {
    if (keys === null) return this.clear(); // FLUSHALL
    for (const key of keys) {
      if (key.startsWith(MODULE_PREFIX)) {
        if (TOMBSTONE.test(key)) this.clear();
        continue;
      }
      if (this.asks.size > 0) this.struckKeys.set(key, ++this.moment);
      const calls = this.calls.get(key);
      if (calls === undefined) continue;
      for (const call of [...calls]) {
        const copy = this.copies.get(call);
        if (copy) this.drop(call, copy);
        this.counts.dropped++;
      }
    }
  }

  private async hearAlso(prefix: string): Promise<void> {
    this.prefixes.set(prefix, Infinity);
    try {
      await this.ears?.hear(prefix);
      this.prefixes.set(prefix, ++this.moment);
    } catch (error) {
      this.prefixes.delete(prefix);
      throw error;
    }
  }

  private listen(): void {
    const ears = new Ears(
      this.shared,
      [MODULE_PREFIX, ...this.prefixes.keys()],
      this.heartbeat,
      (keys) => this.heard(keys),
      (error) => {
        if (this.ears !== ears || this.isClosed) return;
        this.deafen();
        ears.close();
        if (error !== undefined) this.onError(error);
        this.retry = setTimeout(() => this.listen(), Math.min(20 * 2 ** Math.min(this.attempts++, 8), 2000)).unref();
      },
    );
    this.ears = ears;
    ears.begin(() => {
      if (this.ears !== ears || this.isClosed) return;
      this.attempts = 0;
      this.era++;
      this.moment++;
      this.hears = true;
    });
  }

  private deafen(): void {
    this.hears = false;
    this.era++;
    this.clear();
  }
}

/**
 * Two connections that hear what changes: one that subscribes, and one that has its invalidations sent there. (So the same
 * code serves RESP2 and RESP3, and prefixes can be added to the second.) Broken for good when either is.
 */
class Ears {
  private readonly listener: Connection;
  private readonly tracker: Connection;
  private timer: NodeJS.Timeout | undefined;
  private isOver = false;
  private readonly added = new Set<string>();

  constructor(
    shared: Connection,
    private readonly prefixes: string[],
    private readonly heartbeat: number,
    private readonly heard: (keys: string[] | null) => void,
    private readonly broken: (error: unknown) => void,
  ) {
    this.listener = shared.duplicate({ resp2: true });
    this.tracker = shared.duplicate();
    for (const each of [this.listener, this.tracker]) each.onLost(() => this.end(undefined));
  }

  begin(hears: () => void): void {
    this.start().then(hears, (error: unknown) => this.end(error));
  }

  /** Hears of keys with this prefix, too. */
  async hear(prefix: string): Promise<void> {
    if (this.added.has(prefix)) return;
    this.added.add(prefix);
    const id = await this.id;
    await this.tracker.call(["CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST", "PREFIX", prefix]);
  }

  /** What is looked up of a key goes this way, too: the application's connection is spared, and a prefix for keys that it may have. */
  call(words: readonly string[]): Promise<Reply> {
    return this.tracker.call(words, { timeoutMs: LOOKUP_TIMEOUT_MS });
  }

  close(): void {
    this.isOver = true;
    clearInterval(this.timer);
    this.listener.close();
    this.tracker.close();
  }

  private id!: Promise<number>;

  private async start(): Promise<void> {
    this.id = this.listener.call(["CLIENT", "ID"], { timeoutMs: LOOKUP_TIMEOUT_MS }).then(Number);
    await this.id;
    await this.listener.subscribe(CHANNEL, (keys) => {
      if (!this.isOver) this.heard(keys as string[] | null);
    });
    for (const prefix of this.prefixes) await this.hear(prefix);
    this.timer = setInterval(() => {
      for (const each of [this.listener, this.tracker]) {
        each.call(["PING"], { timeoutMs: this.heartbeat }).catch((error: unknown) => this.end(error));
      }
    }, this.heartbeat).unref();
  }

  private end(error: unknown): void {
    if (this.isOver) return;
    this.isOver = true;
    clearInterval(this.timer);
    this.broken(error);
  }
}

/** What all keys of the space begin with: in a cluster, where the space bears no tag, it stands in one. */
function prefixOf(key: string, space: string): string {
  return key.startsWith(`{${space}}`) ? `{${space}}:` : `${space}:`;
}

/** A copy is handed to many: nobody may change it. */
function freeze<T>(value: T): T {
  if (value !== null && typeof value === "object" && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const each of Object.values(value)) freeze(each);
  }
  return value;
}
