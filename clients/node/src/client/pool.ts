// Connections for commands that wait. Made as they are needed, never more than `max`, closed when they have been idle for
// a while. Who finds none free waits its turn, first come, first served.
import type { Connection } from "./connection.js";

const IDLE_MS = 30_000;

export class Pool {
  private readonly idle: { connection: Connection; since: number }[] = [];
  private readonly queue: { resolve: (connection: Connection) => void; reject: (error: Error) => void }[] = [];
  private readonly taken = new Set<Connection>();
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(
    private readonly shared: Connection,
    readonly max: number,
  ) {}

  /** How many there are. */
  get size(): number {
    return this.idle.length + this.taken.size;
  }

  /** A connection if one is free or may be made. */
  tryTake(): Connection | undefined {
    if (this.isClosed || this.queue.length > 0) return undefined;
    const connection = this.idle.pop()?.connection ?? (this.size < this.max ? this.shared.duplicate() : undefined);
    if (connection) this.taken.add(connection);
    return connection;
  }

  take(): Promise<Connection> {
    if (this.isClosed) return Promise.reject(new Error("this client is closed"));
    const connection = this.tryTake();
    if (connection) return Promise.resolve(connection);
    return new Promise((resolve, reject) => this.queue.push({ resolve, reject }));
  }

  give(connection: Connection): void {
    this.taken.delete(connection);
    if (this.isClosed) return connection.close();
    const next = this.queue.shift();
    if (next) {
      this.taken.add(connection);
      return next.resolve(connection);
    }
    this.idle.push({ connection, since: performance.now() });
    this.timer ??= setInterval(() => this.closeIdle(), IDLE_MS / 3).unref();
  }

  async run<T>(use: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.take();
    try {
      return await use(connection);
    } finally {
      this.give(connection);
    }
  }

  close(): void {
    this.isClosed = true;
    clearInterval(this.timer);
    for (const { connection } of this.idle.splice(0)) connection.close();
    for (const connection of this.taken) connection.close(); // fails what waits there
    for (const { reject } of this.queue.splice(0)) reject(new Error("this client is closed"));
  }

  private closeIdle(): void {
    const now = performance.now();
    while (this.idle[0] && now - this.idle[0].since > IDLE_MS) this.idle.shift()?.connection.close();
    if (this.idle.length === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }
}
