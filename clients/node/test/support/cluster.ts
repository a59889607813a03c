// A cluster of two nodes, each with some of the slots, before one database.
import { BearServer, type ServerOptions } from "./server.js";
import { eventually, freePort } from "./processes.js";

export class BearCluster {
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
    const slot = Number((await this.nodes[0].send(`CLUSTER KEYSLOT ${space}`)).slice(1));
    return this.nodes[slot > this.lastSlot ? 1 : 0];
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
