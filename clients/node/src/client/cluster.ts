// A cluster, as bear uses it: a command goes to the node that has its space, the first word behind the command's name. On the
// application's own client its library finds the node, and follows where slots have moved. What bear duplicates is a
// connection to each node that it is asked for, made when it is; redirections are followed here.
import {
  ConnectionLost, fromIoredis, fromNodeRedis, type CallOptions, type Connection, type DuplicateOptions, type IoredisLike, type Message, type NodeRedisLike,
  type Reply, type Word,
} from "./connection.js";

/** What of an ioredis `Cluster` is used. */
export interface IoredisClusterLike {
  readonly isCluster: true;
  status: string;
  nodes(role?: any): any[];
  call(command: string, ...words: (string | number | Buffer)[]): Promise<unknown>;
  callBuffer(command: string, ...words: (string | number | Buffer)[]): Promise<unknown>;
  on(event: string, listener: (...words: any[]) => void): unknown;
  off(event: string, listener: (...words: any[]) => void): unknown;
}

/** What of node-redis' `createCluster` is used. */
export interface NodeRedisClusterLike {
  isOpen: boolean;
  readonly slots: readonly any[];
  readonly masters: readonly any[];
  readonly nodeByAddress: ReadonlyMap<string, any>;
  nodeClient(node: any): any;
  sendCommand(key: any, isReadonly: any, words: any, options?: any): Promise<unknown>;
  on(event: string, listener: (...words: any[]) => void): unknown;
  off(event: string, listener: (...words: any[]) => void): unknown;
}

/** A node: its address as the library has it, and a connection to it that is the library's. */
interface Node {
  address: string;
  connection: Connection;
}

/** The two libraries' clients, as one. */
interface Nodes {
  readonly client: Connection["client"];
  readonly isReady: boolean;
  /** By the library's own connections; it follows redirections. */
  send(key: string | undefined, words: readonly Word[], buffers: boolean): Promise<Reply>;
  /** The master of a slot, or any. */
  master(slot: number | undefined): Promise<Node>;
  masters(): Promise<Node[]>;
  at(address: string): Promise<Node | undefined>;
  /** Has the library look again who has which slots. */
  refresh(key: string | undefined): Promise<void>;
  onReady(listener: () => void): () => void;
  onLost(listener: () => void): () => void;
}

export function fromCluster(cluster: IoredisClusterLike | NodeRedisClusterLike): Connection {
  return new Cluster("nodeClient" in cluster ? new NodeRedisNodes(cluster) : new IoredisNodes(cluster));
}

/** Commands that no space is given to. */
const KEYLESS = new Set(["BEAR.CATALOG", "BEAR.FEED", "BEAR.RELOAD", "BEAR.ADOPT"]);
const MAX_REDIRECTIONS = 16;
const RETRY_MS = 200;

function keyOf(words: readonly Word[]): string | undefined {
  const name = String(words[0]).toUpperCase();
  return name.startsWith("BEAR.") && !KEYLESS.has(name) && words.length > 1 ? String(words[1]) : undefined;
}

class Cluster implements Connection {
  readonly kind = "cluster";

  constructor(private readonly nodes: Nodes) {}

  get client(): Connection["client"] {
    return this.nodes.client;
  }

  get isReady(): boolean {
    return this.nodes.isReady;
  }

  call(words: readonly Word[], options: CallOptions = {}): Promise<Reply> {
    return this.nodes.send(keyOf(words), words, options.buffers === true);
  }

  duplicate(options: DuplicateOptions = {}): Connection {
    return new OwnConnections(this.nodes, options);
  }

  async masters(): Promise<Connection[]> {
    return (await this.nodes.masters()).map(({ connection }) => connection);
  }

  subscribe(): Promise<void> {
    return Promise.reject(new TypeError("the application's connection does not subscribe"));
  }

  psubscribe(): Promise<void> {
    return this.subscribe();
  }

  unsubscribe(): Promise<void> {
    return this.subscribe();
  }

  onReady(listener: () => void): () => void {
    return this.nodes.onReady(listener);
  }

  onLost(listener: () => void): () => void {
    return this.nodes.onLost(listener);
  }

  reset(): void {}

  close(): void {}
}

/** A connection of bear's own, to whichever node has what it is asked for: one to each, used one after the other. */
class OwnConnections implements Connection {
  readonly kind = "cluster";
  private readonly own = new Map<string, Connection>();
  private readonly readies = new Set<() => void>();
  private readonly losts = new Set<() => void>();
  private readonly subscriptions: ((ear: Connection) => Promise<void>)[] = [];
  private ear: Promise<Connection> | undefined;
  private latest: Connection | undefined;
  private isClosed = false;

  constructor(
    private readonly nodes: Nodes,
    private readonly options: DuplicateOptions,
  ) {}

  get client(): Connection["client"] {
    return this.nodes.client;
  }

  get isReady(): boolean {
    return this.latest?.isReady ?? this.nodes.isReady;
  }

  async call(words: readonly Word[], options: CallOptions = {}): Promise<Reply> {
    const key = keyOf(words) ?? this.options.space;
    const slot = key === undefined ? undefined : slotOf(key);
    let node = await this.nodes.master(slot);
    let isAsking = false;
    for (let redirections = 0; ; redirections++) {
      const own = this.ownOf(node);
      this.latest = own;
      try {
        if (isAsking) own.call(["ASKING"]).catch(() => {});
        return await own.call(words, options);
      } catch (error) {
        const [, kind, address] = /^(MOVED|ASK) \d+ (\S+)$/.exec((error as Error).message) ?? [];
        if (address === undefined || redirections === MAX_REDIRECTIONS) throw error;
        isAsking = kind === "ASK";
        if (!isAsking) await this.nodes.refresh(key).catch(() => {});
        node = (await this.nodes.at(address)) ?? (await this.nodes.master(slot));
      }
    }
  }

  duplicate(options: DuplicateOptions = {}): Connection {
    return new OwnConnections(this.nodes, { ...this.options, ...options });
  }

  /** Messages reach every node. Where the one that is listened to is lost, another takes its place. */
  async subscribe(channel: string, listener: (message: Message, channel: string) => void): Promise<void> {
    await this.hear((ear) => ear.subscribe(channel, listener));
  }

  async psubscribe(pattern: string, listener: (message: string, channel: string) => void): Promise<void> {
    await this.hear((ear) => ear.psubscribe(pattern, listener));
  }

  async unsubscribe(channel: string): Promise<void> {
    await (await this.ear)?.unsubscribe(channel);
  }

  onReady(listener: () => void): () => void {
    this.readies.add(listener);
    return () => void this.readies.delete(listener);
  }

  onLost(listener: () => void): () => void {
    this.losts.add(listener);
    return () => void this.losts.delete(listener);
  }

  /** What it is connected to is cut, and looked up anew when it is asked next. */
  reset(): void {
    this.latest = undefined;
    for (const each of this.own.values()) each.close();
    this.own.clear();
    this.tell(this.losts);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const each of this.own.values()) each.close();
    this.ear?.then((ear) => ear.close(), () => {});
  }

  private ownOf(node: Node): Connection {
    if (this.isClosed) throw new ConnectionLost("this client is closed");
    const known = this.own.get(node.address);
    if (known) return known;
    const made = node.connection.duplicate(this.options);
    made.onReady(() => this.tell(this.readies));
    made.onLost(() => {
      // It connects again by itself, as long as the node is one.
      this.tell(this.losts);
    });
    this.own.set(node.address, made);
    return made;
  }

  private async hear(subscribe: (ear: Connection) => Promise<void>): Promise<void> {
    this.subscriptions.push(subscribe);
    if (this.ear) return subscribe(await this.ear);
    this.ear = this.listen();
    await this.ear;
  }

  private async listen(): Promise<Connection> {
    const { space } = this.options;
    const node = await this.nodes.master(space === undefined ? undefined : slotOf(space));
    const ear = node.connection.duplicate(this.options);
    ear.onLost(() => {
      if (this.isClosed || !this.subscriptions.length) return;
      ear.close();
      this.ear = this.listenAgain();
    });
    for (const subscribe of this.subscriptions) await subscribe(ear);
    return ear;
  }

  private async listenAgain(): Promise<Connection> {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
      if (this.isClosed) throw new ConnectionLost("this client is closed");
      await this.nodes.refresh(this.options.space).catch(() => {});
      const ear = await this.listen().catch(() => undefined);
      if (ear) return ear;
    }
  }

  private tell(listeners: Set<() => void>): void {
    for (const listener of [...listeners]) listener();
  }
}

class IoredisNodes implements Nodes {
  readonly client = "ioredis";

  constructor(private readonly cluster: IoredisClusterLike) {}

  get isReady(): boolean {
    return this.cluster.status === "ready";
  }

  send(key: string | undefined, [name, ...rest]: readonly Word[], buffers: boolean): Promise<Reply> {
    // It knows keys of no module's commands, and would ask any node first: the command is told its slot on the way.
    const { cluster } = this;
    const through =
      key === undefined
        ? cluster
        : Object.assign(Object.create(cluster) as IoredisClusterLike, {
            sendCommand(command: { getSlot(): number }, ...more: unknown[]): unknown {
              command.getSlot = () => slotOf(key);
              return (cluster as unknown as { sendCommand(...words: unknown[]): unknown }).sendCommand(command, ...more);
            },
          });
    return buffers ? through.callBuffer(String(name), ...rest) : through.call(String(name), ...rest);
  }

  async master(slot: number | undefined): Promise<Node> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const nodes = this.all();
      const address = slot === undefined ? undefined : (this.cluster as unknown as { slots: string[][] }).slots[slot]?.[0];
      const found = slot === undefined ? nodes[Math.floor(Math.random() * nodes.length)] : nodes.find((node) => node.address === address);
      if (found) return found;
      await this.refresh();
    }
    throw new ConnectionLost(slot === undefined ? "no node of the cluster is known" : `no node of the cluster is known to have slot ${slot}`);
  }

  async masters(): Promise<Node[]> {
    if (this.all().length === 0) await this.refresh();
    return this.all();
  }

  async at(address: string): Promise<Node | undefined> {
    return this.all("all").find((node) => node.address === address);
  }

  async refresh(): Promise<void> {
    if (!this.isReady) await this.cluster.call("PING"); // connects where it has not yet
    const { cluster } = this as unknown as { cluster: { refreshSlotsCache(done: (error?: Error) => void): void } };
    await new Promise<void>((resolve, reject) => cluster.refreshSlotsCache((error) => (error ? reject(error) : resolve())));
  }

  onReady(listener: () => void): () => void {
    this.cluster.on("ready", listener);
    return () => void this.cluster.off("ready", listener);
  }

  onLost(listener: () => void): () => void {
    this.cluster.on("close", listener);
    return () => void this.cluster.off("close", listener);
  }

  private all(role: "master" | "all" = "master"): Node[] {
    return this.cluster.nodes(role).map((redis: IoredisLike) => {
      const { host, port } = redis.options as { host?: string; port?: number };
      return { address: `${host}:${port}`, connection: fromIoredis(redis) };
    });
  }
}

class NodeRedisNodes implements Nodes {
  readonly client = "node-redis";

  constructor(private readonly cluster: NodeRedisClusterLike) {}

  get isReady(): boolean {
    return (this.cluster as { isReady?: boolean }).isReady ?? this.cluster.isOpen;
  }

  send(key: string | undefined, words: readonly Word[], buffers: boolean): Promise<Reply> {
    const sent = words.map((word) => (typeof word === "number" ? String(word) : word));
    // 36 is "$", a bulk string.
    return this.cluster.sendCommand(key, false, sent, { typeMapping: buffers ? { 36: Buffer } : {} });
  }

  async master(slot: number | undefined): Promise<Node> {
    const { masters, slots } = this.cluster;
    const node = slot === undefined ? masters[Math.floor(Math.random() * masters.length)] : slots[slot]?.master;
    if (!node) throw new ConnectionLost(slot === undefined ? "no node of the cluster is known" : `no node of the cluster is known to have slot ${slot}`);
    return this.of(node);
  }

  masters(): Promise<Node[]> {
    return Promise.all(this.cluster.masters.map((node) => this.of(node)));
  }

  async at(address: string): Promise<Node | undefined> {
    const node = this.cluster.nodeByAddress.get(address);
    return node && this.of(node);
  }

  async refresh(key: string | undefined): Promise<void> {
    // What it is told by a redirection it looks up again.
    if (key !== undefined) await this.cluster.sendCommand(key, false, ["EXISTS", key]);
  }

  onReady(listener: () => void): () => void {
    this.cluster.on("connect", listener);
    return () => void this.cluster.off("connect", listener);
  }

  onLost(listener: () => void): () => void {
    this.cluster.on("disconnect", listener);
    return () => void this.cluster.off("disconnect", listener);
  }

  private async of(node: { address: string }): Promise<Node> {
    return { address: node.address, connection: fromNodeRedis((await this.cluster.nodeClient(node)) as NodeRedisLike) };
  }
}

/** The slot of a key: of what stands between its first `{` and the next `}`, where something does. */
export function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open);
  return crc16(Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key)) % 16384;
}

/** CRC-16/XMODEM, of which Redis makes slots. */
function crc16(bytes: Buffer): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}
