// node-redis' createSentinel, as bear uses it. (ioredis has Sentinels in its `Redis`.) Nothing is subscribed to: of a subscription that
// lives over a failover node-redis keeps a client that connects for ever to who was the master, also once all is closed. So what
// would be heard is asked for: of a cancellation the next heartbeat tells.
import { reconnectAfterMs, within, type CallOptions, type Connection, type Reply, type Word } from "./connection.js";

/** What of node-redis' `createSentinel` is used. */
export interface NodeRedisSentinelLike {
  isReady: boolean;
  isOpen: boolean;
  sendCommand(isReadonly: any, words: any, options?: any): Promise<unknown>;
  duplicate(options?: any): unknown;
  getMasterNode(): unknown;
  acquire(): Promise<unknown>;
  on(event: string, listener: (...words: any[]) => void): unknown;
  off(event: string, listener: (...words: any[]) => void): unknown;
  connect(): Promise<unknown>;
  destroy(): Promise<unknown>;
}

export function fromNodeRedisSentinel(sentinel: NodeRedisSentinelLike): Connection {
  return new Sentinel(sentinel, undefined);
}

class Sentinel implements Connection {
  readonly client = "node-redis";
  readonly kind = "sentinel";
  private readonly listeners: [event: string, listener: () => void][] = [];
  private isClosed = false;
  /** Of bear's own, from the first call on. */
  private connecting: Promise<void> | undefined;

  constructor(
    private sentinel: NodeRedisSentinelLike,
    /** Makes one anew; of a connection of bear's own. */
    private readonly make: (() => NodeRedisSentinelLike) | undefined,
  ) {}

  get isReady(): boolean {
    return this.sentinel.isReady;
  }

  call(words: readonly Word[], options: CallOptions = {}): Promise<Reply> {
    const sent = words.map((word) => (typeof word === "number" ? String(word) : word));
    // A type mapping of the application would change what bear reads. 36 is "$", a bulk string.
    if (this.make && !this.isClosed) this.connecting ??= this.connect(this.sentinel);
    const answer = (this.connecting ?? Promise.resolve()).then(() => this.sentinel.sendCommand(false, sent, { typeMapping: options.buffers ? { 36: Buffer } : {} }));
    return options.timeoutMs === undefined ? answer : within(this, answer, options.timeoutMs);
  }

  duplicate(): Connection {
    const make = () => {
      // One connection to the master; what waits when it is lost fails: a BEAR.CLAIM that is sent again claims twice.
      const made = this.sentinel.duplicate({ masterPoolSize: 1, replicaPoolSize: 0, maxCommandRediscovers: 0, reserveClient: false, commandOptions: {} }) as NodeRedisSentinelLike;
      made.on("error", () => {}); // each call tells of its own
      return made;
    };
    return new Sentinel(make(), make);
  }

  async subscribe(): Promise<void> {}

  async psubscribe(): Promise<void> {}

  async unsubscribe(): Promise<void> {}

  onReady(listener: () => void): () => void {
    return this.on("topology-change", listener);
  }

  onLost(listener: () => void): () => void {
    return this.on("error", () => {
      if (!this.sentinel.isReady) listener();
    });
  }

  reset(): void {
    if (!this.make || this.isClosed) return;
    const old = this.sentinel;
    this.sentinel = this.make();
    for (const each of this.listeners) {
      old.off(...each);
      this.sentinel.on(...each);
    }
    this.connecting = undefined;
    old.destroy().catch(() => {});
  }

  close(): void {
    if (!this.make || this.isClosed) return;
    this.isClosed = true;
    this.sentinel.destroy().catch(() => {});
  }

  /** Until it has, however long no Sentinel or no master answers. */
  private async connect(sentinel: NodeRedisSentinelLike): Promise<void> {
    for (let times = 0; sentinel === this.sentinel && !this.isClosed; times++) {
      try {
        await sentinel.connect();
        if (sentinel !== this.sentinel || this.isClosed) await sentinel.destroy(); // what was ended while it connected goes on
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, reconnectAfterMs(times)));
      }
    }
  }

  private on(event: string, listener: () => void): () => void {
    this.listeners.push([event, listener]);
    this.sentinel.on(event, listener);
    return () => {
      const at = this.listeners.findIndex(([, each]) => each === listener);
      if (at >= 0) this.listeners.splice(at, 1);
      this.sentinel.off(event, listener);
    };
  }
}
