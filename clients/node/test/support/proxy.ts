// A proxy before a server that can hold what the server says on a connection, so that a test decides which of two
// connections is heard first.
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

export class Wire {
  /** What the client has sent, and the server. */
  sent = "";
  received = "";
  private held: Buffer[] | undefined;

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
  ) {
    client.on("data", (data) => {
      this.sent += data.toString("latin1");
      server.write(data);
    });
    server.on("data", (data) => {
      this.received += data.toString("latin1");
      if (this.held) this.held.push(data);
      else client.write(data);
    });
    for (const [one, other] of [[client, server], [server, client]] as const) {
      one.on("close", () => other.destroy());
      one.on("error", () => other.destroy());
    }
  }

  /** From now on the client hears nothing. */
  hold(): void {
    this.held ??= [];
  }

  /** It hears what was held, and what comes. */
  release(): void {
    for (const data of this.held ?? []) this.client.write(data);
    this.held = undefined;
  }

  /** Cuts it. */
  cut(): void {
    this.client.destroy();
  }

  /** Neither hears the other any more, and nobody is told: a network that is gone. */
  freeze(): void {
    for (const each of [this.client, this.server]) each.pause();
  }
}

export class Proxy {
  readonly wires: Wire[] = [];

  private constructor(private readonly listener: Server) {}

  static async start(port: number): Promise<Proxy> {
    const listener = createServer();
    const proxy = new Proxy(listener);
    listener.on("connection", (client) => {
      client.setNoDelay(true);
      proxy.wires.push(new Wire(client, connect(port, "127.0.0.1").setNoDelay(true)));
    });
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.listener.address() as AddressInfo).port}`;
  }

  /** The newest connection on which the client has sent this. */
  wire(text: string): Wire {
    const found = this.wires.findLast(({ sent }) => sent.includes(text));
    if (!found) throw new Error(`no connection has sent ${text}`);
    return found;
  }

  stop(): void {
    this.listener.close();
    for (const wire of this.wires) wire.cut();
  }
}
