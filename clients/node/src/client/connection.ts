// The Redis client that the application has, as bear uses it: one interface before ioredis and node-redis, of whichever
// major. Nothing is imported from them, so that neither has to be there.

/** A word of a command. */
export type Word = string | number | Buffer;

/** What came: strings (Buffers of `callBuffers`), numbers, null, arrays; maps as the protocol and the client give them. */
export type Reply = unknown;

export interface CallOptions {
  /** Bulk strings come as Buffers. */
  buffers?: boolean;
  /** After so long the connection counts as dead: it is cut, and the call fails. For a connection of one's own. */
  timeoutMs?: number;
}

/** What comes on a channel; of `__redis__:invalidate` a list of keys, or null for all. */
export type Message = string | string[] | null;

export interface DuplicateOptions {
  /** RESP2 whatever the original speaks: for a subscriber whose messages come as such. */
  resp2?: boolean;
  /** In a cluster: what has no key is for the node that has this space. */
  space?: string;
}

export interface Connection {
  readonly client: "ioredis" | "node-redis";
  /**
   * `cluster`: to several servers, of which a command goes to that of its space. `sentinel`: to the master that Sentinels name, and
   * nothing can be subscribed to. Undefined: to one server.
   */
  readonly kind?: "cluster" | "sentinel";
  /** Of a cluster: its masters. */
  masters?(): Promise<Connection[]>;
  /** Commands sent now are answered, as far as is known. */
  readonly isReady: boolean;
  call(words: readonly Word[], options?: CallOptions): Promise<Reply>;
  /** Another connection to the same server with the same rights, that connects by itself and for ever, and sends nothing twice. */
  duplicate(options?: DuplicateOptions): Connection;
  subscribe(channel: string, listener: (message: Message, channel: string) => void): Promise<void>;
  psubscribe(pattern: string, listener: (message: string, channel: string) => void): Promise<void>;
  unsubscribe(channel: string): Promise<void>;
  /** Tells of each time that it begins to answer (not of now). The function returned ends it. */
  onReady(listener: () => void): () => void;
  /** Tells of each time that it is lost. */
  onLost(listener: () => void): () => void;
  /** Cuts the connection, which fails what waits; one that was made by `duplicate` connects anew. */
  reset(): void;
  /** For good. Only of a connection made by `duplicate`: what the application has is its own. */
  close(): void;
}

/** What of an ioredis `Redis` is used. */
export interface IoredisLike {
  status: string;
  options: object;
  call(command: string, ...words: (string | number | Buffer)[]): Promise<unknown>;
  callBuffer(command: string, ...words: (string | number | Buffer)[]): Promise<unknown>;
  duplicate(options?: object): unknown;
  on(event: string, listener: (...words: any[]) => void): unknown;
  once(event: string, listener: (...words: any[]) => void): unknown;
  off(event: string, listener: (...words: any[]) => void): unknown;
  disconnect(reconnect?: boolean): void;
}

/** What of a node-redis client is used. */
export interface NodeRedisLike {
  isReady: boolean;
  isOpen: boolean;
  sendCommand(words: any, options?: any): Promise<unknown>;
  duplicate(options?: any): unknown;
  on(event: string, listener: (...words: any[]) => void): unknown;
  off(event: string, listener: (...words: any[]) => void): unknown;
  connect(): Promise<unknown>;
  destroy(): void;
  subscribe(channels: any, listener: (message: any, channel: any) => void): Promise<unknown>;
  pSubscribe(patterns: any, listener: (message: any, channel: any) => void): Promise<unknown>;
  unsubscribe(channels: any): Promise<unknown>;
}

export function fromIoredis(redis: IoredisLike): Connection {
  return new Ioredis(redis, false);
}

export function fromNodeRedis(client: NodeRedisLike): Connection {
  return new NodeRedis(client, undefined);
}

/** A connection that could not be had, or was cut because no answer came. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

export function reconnectAfterMs(times: number): number {
  return Math.min(20 * 2 ** Math.min(times, 6), 1000);
}

/** Cuts the connection where an answer takes too long: a half-open one would never fail by itself. */
export async function within<T>(connection: Connection, answer: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new ConnectionLost(`no answer within ${timeoutMs} ms`));
      connection.reset();
    }, timeoutMs);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
    answer.catch(() => {});
  }
}

class Ioredis implements Connection {
  readonly client = "ioredis";

  constructor(
    private readonly redis: IoredisLike,
    private readonly isOwn: boolean,
  ) {}

  get isReady(): boolean {
    return this.redis.status === "ready";
  }

  call(words: readonly Word[], options: CallOptions = {}): Promise<Reply> {
    const [name, ...rest] = words as [string, ...Word[]];
    const answer = options.buffers ? this.redis.callBuffer(name, ...rest) : this.redis.call(name, ...rest);
    return options.timeoutMs === undefined ? answer : within(this, answer, options.timeoutMs);
  }

  duplicate(options: DuplicateOptions = {}): Connection {
    const redis = this.redis.duplicate({
      lazyConnect: false,
      enableOfflineQueue: true,
      // What waits when the connection is lost fails: a BEAR.CLAIM that is sent again claims twice.
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: reconnectAfterMs,
      // A failover: who was the master says that it is none any more.
      reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
      autoResubscribe: true,
      // A blocked connection is silent; its calls have timeouts of their own.
      commandTimeout: undefined,
      socketTimeout: undefined,
      blockingTimeout: undefined,
      enableAutoPipelining: false,
      keyPrefix: "",
      ...(options.resp2 ? { protocol: 2, replyMapping: undefined } : {}),
    }) as IoredisLike;
    redis.on("error", () => {}); // each call tells of its own
    return new Ioredis(redis, true);
  }

  async subscribe(channel: string, listener: (message: Message, channel: string) => void): Promise<void> {
    this.redis.on("messageBuffer", (from: Buffer, message: Buffer | Buffer[] | null) => {
      if (from.toString() !== channel) return;
      if (Array.isArray(message)) listener(message.map(String), channel);
      else listener(message === null ? null : message.toString(), channel);
    });
    await this.sendNow(["subscribe", channel]);
  }

  async psubscribe(pattern: string, listener: (message: string, channel: string) => void): Promise<void> {
    this.redis.on("pmessage", (from: string, channel: string, message: string) => {
      if (from === pattern) listener(message, channel);
    });
    await this.sendNow(["psubscribe", pattern]);
  }

  async unsubscribe(channel: string): Promise<void> {
    await this.redis.call("unsubscribe", channel);
  }

  // By their lower case ioredis 5 knows commands that change what a connection is for.
  /** And each time that it is connected anew: ioredis forgets what failed to be subscribed the first time. */
  private async sendNow([name, word]: [string, string]): Promise<void> {
    this.redis.on("ready", () => void this.redis.call(name, word).catch(() => {}));
    if (!this.isReady && this.isOwn) await new Promise<void>((resolve) => this.redis.once("ready", resolve));
    await this.redis.call(name, word);
  }

  onReady(listener: () => void): () => void {
    this.redis.on("ready", listener);
    return () => void this.redis.off("ready", listener);
  }

  onLost(listener: () => void): () => void {
    this.redis.on("close", listener);
    return () => void this.redis.off("close", listener);
  }

  reset(): void {
    this.redis.disconnect(true);
  }

  close(): void {
    if (this.isOwn) this.redis.disconnect();
  }
}

class NodeRedis implements Connection {
  readonly client = "node-redis";
  private readonly listeners: [event: string, listener: (...words: any[]) => void][] = [];
  private readonly subscriptions: ((redis: NodeRedisLike) => Promise<unknown>)[] = [];
  private isClosed = false;

  constructor(
    private redis: NodeRedisLike,
    /** Makes a client anew; of a connection of bear's own. */
    private readonly make: (() => NodeRedisLike) | undefined,
  ) {}

  get isReady(): boolean {
    return this.redis.isReady;
  }

  call(words: readonly Word[], options: CallOptions = {}): Promise<Reply> {
    const sent = words.map((word) => (typeof word === "number" ? String(word) : word));
    // A type mapping of the application would change what bear reads. 36 is "$", a bulk string.
    const answer = this.redis.sendCommand(sent, { typeMapping: options.buffers ? { 36: Buffer } : {} });
    return options.timeoutMs === undefined ? answer : within(this, answer, options.timeoutMs);
  }

  duplicate(options: DuplicateOptions = {}): Connection {
    const given = (this.redis as { options?: { socket?: object } }).options;
    const make = () => {
      const redis = this.redis.duplicate({
        socket: { ...given?.socket, reconnectStrategy: reconnectAfterMs, socketTimeout: undefined },
        commandOptions: {},
        pingInterval: undefined,
        disableOfflineQueue: false,
        clientSideCache: undefined,
        ...(options.resp2 ? { RESP: 2, emitInvalidate: undefined, maintNotifications: "disabled" } : {}),
      }) as NodeRedisLike;
      redis.on("error", () => {}); // each call tells of its own
      redis.connect().catch(() => {});
      return redis;
    };
    return new NodeRedis(make(), make);
  }

  async subscribe(channel: string, listener: (message: Message, channel: string) => void): Promise<void> {
    const subscription = (redis: NodeRedisLike) => redis.subscribe(channel, listener);
    this.subscriptions.push(subscription);
    await subscription(this.redis);
  }

  async psubscribe(pattern: string, listener: (message: string, channel: string) => void): Promise<void> {
    const subscription = (redis: NodeRedisLike) => redis.pSubscribe(pattern, listener);
    this.subscriptions.push(subscription);
    await subscription(this.redis);
  }

  async unsubscribe(channel: string): Promise<void> {
    await this.redis.unsubscribe(channel);
  }

  onReady(listener: () => void): () => void {
    return this.on(["ready"], listener);
  }

  onLost(listener: () => void): () => void {
    // It tells of an error whenever the connection is lost, and by `end` of a client that was closed.
    return this.on(["error", "end"], () => {
      if (!this.redis.isReady) listener();
    });
  }

  reset(): void {
    if (!this.make || this.isClosed) return;
    const old = this.redis;
    this.redis = this.make();
    for (const [event, listener] of this.listeners) {
      old.off(event, listener);
      this.redis.on(event, listener);
    }
    for (const [event, listener] of this.listeners) if (event === "end") listener();
    for (const subscription of this.subscriptions) subscription(this.redis).catch(() => {});
    old.destroy();
  }

  close(): void {
    if (!this.make || this.isClosed) return;
    this.isClosed = true;
    this.redis.destroy();
  }

  private on(events: string[], listener: (...words: any[]) => void): () => void {
    const added = events.map((event) => [event, listener] as [string, (...words: any[]) => void]);
    for (const each of added) {
      this.listeners.push(each);
      this.redis.on(...each);
    }
    return () => {
      for (const each of added) {
        const at = this.listeners.indexOf(each);
        if (at >= 0) this.listeners.splice(at, 1);
        this.redis.off(...each);
      }
    };
  }
}
