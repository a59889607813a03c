// A cluster of two nodes, each with some of the slots, before one database.
import { BearServer, type ServerOptions } from "./server.js";
import { eventually, freePort } from "./processes.js";

export class BearCluster {
  /** Slots that have moved, and to which node. */
  private readonly moves = new Map<number, BearServer>();

  private constructor(
    readonly nodes: [BearServer, BearServer],
    /** The last slot of the first node. */
    private readonly lastSlot: number,
  ) {}

  /** `sections` are divided among the two nodes. */
  static async start(options: ServerOptions, sections: [string, string, ...string[]]): Promise<BearCluster> {
    const buses = [await freePort(), await freePort()] as const;
    const settings = (bus: number) => [...(options.settings ?? []), "--cluster-enabled", "yes", "--cluster-port", String(bus)];
    const first = await BearServer.start({ ...options, settings: settings(buses[0]) });
    const second = await BearServer.start({ ...options, settings: settings(buses[1]) }, first);
    const slots = await Promise.all(sections.map(async (section) => Number((await first.send(`CLUSTER KEYSLOT ${section}`)).slice(1))));
    slots.sort((one, other) => one - other);
    const lastSlot = slots[Math.floor((slots.length - 1) / 2)] as number;
    await first.send(`CLUSTER ADDSLOTSRANGE 0 ${lastSlot}`);
    await second.send(`CLUSTER ADDSLOTSRANGE ${lastSlot + 1} 16383`);
    await first.send(`CLUSTER MEET 127.0.0.1 ${second.port} ${buses[1]}`);
    for (const node of [first, second]) {
      await eventually("the cluster is ready", async () => /cluster_state:ok[^]*cluster_known_nodes:2/.test(await node.send("CLUSTER INFO")));
    }
    return new BearCluster([first, second], lastSlot);
  }

  /** The node that has the space. */
  async of(space: string): Promise<BearServer> {
    const slot = await this.slot(space);
    return this.moves.get(slot) ?? this.nodes[slot > this.lastSlot ? 1 : 0];
  }

  /** The slot of the space goes to the other node, and its keys with it. */
  async move(space: string): Promise<void> {
    const slot = await this.slot(space);
    const from = await this.of(space);
    const to = from === this.nodes[0] ? this.nodes[1] : this.nodes[0];
    const [fromId, toId] = [await from.send("CLUSTER MYID"), await to.send("CLUSTER MYID")].map((reply) => reply.split("\r\n")[1]);
    await to.send(`CLUSTER SETSLOT ${slot} IMPORTING ${fromId}`);
    await from.send(`CLUSTER SETSLOT ${slot} MIGRATING ${toId}`);
    for (;;) {
      const keys = (await from.send(`CLUSTER GETKEYSINSLOT ${slot} 100`)).split("\r\n").filter((line) => /^[^*$]/.test(line));
      if (keys.length === 0) break;
      const said = await from.send(`MIGRATE 127.0.0.1 ${to.port} "" 0 5000 REPLACE KEYS ${keys.join(" ")}`);
      if (!/^\+(OK|NOKEY)/.test(said)) throw new Error(said);
    }
    for (const node of [to, from]) await node.send(`CLUSTER SETSLOT ${slot} NODE ${toId}`);
    this.moves.set(slot, to);
  }

  private async slot(space: string): Promise<number> {
    return Number((await this.nodes[0].send(`CLUSTER KEYSLOT ${space}`)).slice(1));
  }

  /** How often a client was told that it had asked the wrong node. */
  async moved(): Promise<number> {
    const counts = this.nodes.map(async (node) => Number(/errorstat_MOVED:count=(\d+)/.exec(await node.send("INFO errorstats"))?.[1] ?? 0));
    return (await Promise.all(counts)).reduce((all, one) => all + one, 0);
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) await node.stop();
  }
}
