// Every command by ioredis and node-redis as they are, without this package, in both protocols, and by their cluster clients before a
// cluster of two nodes. tests/live/clients/ of the repository does so by redis-py and redis-rs.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Cluster as Cluster6, Redis as Redis6 } from "ioredis";
import { Cluster as Cluster5, Redis as Redis5 } from "ioredis5";
import { createClient as createClient6, createCluster as createCluster6 } from "redis";
import { createClient as createClient5, createCluster as createCluster5 } from "redis5";
import { cases, save, wordsOf, wrongOf, type Got, type Known } from "../support/cases.js";
import { BearCluster } from "../support/cluster.js";
import { eventually } from "../support/processes.js";
import { BearServer, type ServerOptions } from "../support/server.js";
import { atEnd } from "../support/shop.js";

const OPTIONS: ServerOptions = {
  catalog: "tests/clients/catalog.toml",
  schema: ["tests/clients/schema.sql"],
  settings: ["--bear.feed", "off"],
};
const KEYLESS = ["BEAR.CATALOG", "BEAR.FEED", "BEAR.PROPOSE", "BEAR.RELOAD", "BEAR.ADOPT"];

interface Sender {
  send(words: Buffer[]): Promise<Got>;
  close(): unknown;
}

interface Kind {
  name: string;
  /** As in which protocol the client shows maps and booleans: ioredis 6 by default as in RESP2, whatever it speaks. */
  shows: 2 | 3;
  connect(port: number): Promise<Sender>;
}

// ioredis has replies as Buffers by `callBuffer`.
const ofIoredis = async (redis: Redis5 | Redis6 | Cluster5 | Cluster6): Promise<Sender> => ({
  send: ([name, ...words]) => (redis as Redis6).callBuffer(String(name), ...words),
  close: () => redis.disconnect(),
});

// node-redis by a type mapping: 36 is "$", a bulk string.
const BUFFERS = { typeMapping: { 36: Buffer } };
const ofNodeRedis = async (client: any): Promise<Sender> => {
  client.on("error", () => {});
  await client.connect();
  return { send: (words) => client.sendCommand(words, BUFFERS), close: () => client.destroy() };
};

// The cluster client of node-redis is told the key.
const ofNodeRedisCluster = async (cluster: any): Promise<Sender> => {
  cluster.on("error", () => {});
  await cluster.connect();
  const send = (words: Buffer[]) => cluster.sendCommand(KEYLESS.includes(String(words[0])) ? undefined : words[1], false, words, BUFFERS);
  return { send, close: () => cluster.destroy() };
};

const ONE: Kind[] = [
  { name: "ioredis 6, RESP2", shows: 2, connect: (port) => ofIoredis(new Redis6(port, { protocol: 2 })) },
  { name: "ioredis 6, RESP3", shows: 3, connect: (port) => ofIoredis(new Redis6(port, { protocol: 3, replyMapping: "resp3" })) },
  { name: "ioredis 6, RESP3, replies as of RESP2", shows: 2, connect: (port) => ofIoredis(new Redis6(port, { protocol: 3 })) },
  { name: "ioredis 5, RESP2", shows: 2, connect: (port) => ofIoredis(new Redis5(port)) },
  { name: "redis 6, RESP2", shows: 2, connect: (port) => ofNodeRedis(createClient6({ url: url(port), RESP: 2 })) },
  { name: "redis 6, RESP3", shows: 3, connect: (port) => ofNodeRedis(createClient6({ url: url(port), RESP: 3 })) },
  { name: "redis 5, RESP2", shows: 2, connect: (port) => ofNodeRedis(createClient5({ url: url(port), RESP: 2 })) },
  { name: "redis 5, RESP3", shows: 3, connect: (port) => ofNodeRedis(createClient5({ url: url(port), RESP: 3 })) },
];

const CLUSTER: Kind[] = [
  { name: "ioredis 6 Cluster, RESP2", shows: 2, connect: (port) => ofIoredis(new Cluster6([{ host: "127.0.0.1", port }], { redisOptions: { protocol: 2 } })) },
  { name: "ioredis 6 Cluster, RESP3", shows: 3, connect: (port) => ofIoredis(new Cluster6([{ host: "127.0.0.1", port }], { redisOptions: { protocol: 3, replyMapping: "resp3" } })) },
  { name: "ioredis 5 Cluster, RESP2", shows: 2, connect: (port) => ofIoredis(new Cluster5([{ host: "127.0.0.1", port }])) },
  { name: "redis 6 cluster, RESP2", shows: 2, connect: (port) => ofNodeRedisCluster(createCluster6({ rootNodes: [{ url: url(port) }], RESP: 2 })) },
  { name: "redis 6 cluster, RESP3", shows: 3, connect: (port) => ofNodeRedisCluster(createCluster6({ rootNodes: [{ url: url(port) }], RESP: 3 })) },
  { name: "redis 5 cluster, RESP2", shows: 2, connect: (port) => ofNodeRedisCluster(createCluster5({ rootNodes: [{ url: url(port) }], RESP: 2 })) },
  { name: "redis 5 cluster, RESP3", shows: 3, connect: (port) => ofNodeRedisCluster(createCluster5({ rootNodes: [{ url: url(port) }], RESP: 3 })) },
];

function url(port: number): string {
  return `redis://127.0.0.1:${port}`;
}

/** All cases, one after the other. */
async function goThrough(kind: Kind, nodes: readonly BearServer[], nodeOf: (space: string) => Promise<BearServer>): Promise<void> {
  const client = await kind.connect((nodes[0] as BearServer).port);
  const known: Known = { run: kind.name.replaceAll(/\W+/g, "-") };
  const sum = async (command: string, count: RegExp) => {
    const all = await Promise.all(nodes.map(async (node) => Number(count.exec(await node.send(command))?.[1])));
    return all.reduce((one, other) => one + other, 0);
  };
  try {
    for (const one of cases) {
      const answer = client.send(wordsOf(one.call, known)).catch((error: Error) => error);
      if (one.meanwhile) {
        await eventually("the client waits", async () => (await sum("INFO clients", /blocked_clients:(\d+)/)) === 1);
        const words = wordsOf(one.meanwhile, known).map((word) => JSON.stringify(String(word)));
        assert.doesNotMatch(await (await nodeOf(String(one.meanwhile[1]))).send(words.join(" ")), /^-/);
      }
      const reply = await answer;
      assert.equal(wrongOf(one.reply, reply, kind.shows, known), undefined, `${JSON.stringify(one.call)}: ${JSON.stringify(reply)}`);
      save(one, reply, known);
      // An entry may stand a moment after its answer, and what follows tells of it.
      if (String(one.call[0]).endsWith("QUERY")) {
        await eventually("it is stored", async () => (await sum("INFO bear", /fills_running:(\d+)/)) + (await sum("INFO bear", /publishing:(\d+)/)) === 0);
      }
    }
  } finally {
    await client.close();
  }
}

describe("one server", () => {
  let server: BearServer;
  before(async () => {
    server = await BearServer.start(OPTIONS);
    atEnd(() => server.stop());
  });
  for (const kind of ONE) it(kind.name, () => goThrough(kind, [server], async () => server));
});

describe("a cluster of two nodes", () => {
  let cluster: BearCluster;
  before(async () => {
    cluster = await BearCluster.start(OPTIONS, ["shop", "page", "mail"]);
    atEnd(() => cluster.stop());
  });
  for (const kind of CLUSTER) {
    it(kind.name, async () => {
      const before = await cluster.moved();
      await goThrough(kind, cluster.nodes, (space) => cluster.of(space));
      const moved = (await cluster.moved()) - before;
      // ioredis knows the keys of no module's commands: it asks any node, and then the one that it is told of.
      if (kind.name.startsWith("ioredis")) assert.ok(moved > 0);
      else assert.equal(moved, 0);
    });
  }
});
