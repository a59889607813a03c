// The client and a worker before a cluster of two nodes, by the cluster clients of both libraries: everything reaches its space's
// node, what waits as well, and slots that move are followed.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster as Cluster6 } from "ioredis";
import { Cluster as Cluster5 } from "ioredis5";
import { createCluster as createCluster6 } from "redis";
import { createCluster as createCluster5 } from "redis5";
import { Bear, Worker, hasCode, type RedisLike } from "bear";
import { BearCluster } from "../support/cluster.js";
import { eventually } from "../support/processes.js";
import { atEnd } from "../support/shop.js";

let cluster: BearCluster;

before(async () => {
  cluster = await BearCluster.start(
    { catalog: "clients/node/test/catalogs/shop.toml", schema: ["clients/node/test/catalogs/shop.sql"], settings: ["--bear.feed", "off"] },
    ["product", "page", "mail"],
  );
  atEnd(() => cluster.stop());
});

const ofNodeRedis = async (client: any): Promise<RedisLike> => {
  client.on("error", () => {});
  atEnd(() => client.destroy());
  return client.connect();
};

const ofIoredis = async (client: Cluster5 | Cluster6): Promise<RedisLike> => {
  client.on("error", () => {});
  atEnd(() => client.disconnect());
  return client;
};

const root = () => ({ host: "127.0.0.1", port: cluster.nodes[0].port });
const url = () => ({ url: cluster.nodes[0].url });

const KINDS: [name: string, connect: () => Promise<RedisLike>][] = [
  ["ioredis 6, RESP2", () => ofIoredis(new Cluster6([root()], { redisOptions: { protocol: 2 } }))],
  ["ioredis 6, RESP3", () => ofIoredis(new Cluster6([root()], { redisOptions: { protocol: 3 } }))],
  ["ioredis 5", () => ofIoredis(new Cluster5([root()]))],
  ["redis 6, RESP2", () => ofNodeRedis(createCluster6({ rootNodes: [url()], RESP: 2 }))],
  ["redis 6, RESP3", () => ofNodeRedis(createCluster6({ rootNodes: [url()], RESP: 3 }))],
  ["redis 5", () => ofNodeRedis(createCluster5({ rootNodes: [url()] }))],
];

for (const [number, [name, connect]] of KINDS.entries()) {
  describe(name, () => {
    let bear: Bear;
    before(async () => {
      bear = new Bear(await connect(), { pool: 2, waits: 2 });
      atEnd(() => bear.close());
    });

    it("asks each space's node, and no other", async () => {
      const before = await cluster.moved();
      const id = 500 + number;
      assert.equal((await bear.query<{ id: number }>("product", id)).id, id);
      assert.equal((await bear.query<{ id: number }>("product", [id], { fresh: true })).id, id);
      assert.equal((await bear.mquery("product", [[id], [id + 100]])).length, 2);
      assert.ok((await bear.invalidate.changed("product", id)) >= 1);
      let computed = 0;
      const compute = async () => {
        computed++;
        await sleep(50);
        return { name };
      };
      const values = await Promise.all(Array.from({ length: 5 }, () => bear.getOrSet("page", ["shelf", `cluster-${number}`], compute)));
      assert.deepEqual(values, Array(5).fill({ name }));
      assert.equal(computed, 1);
      const job = await bear.wait("product", await bear.enqueue("product", "SET_PRICE", { id, price: 5 }));
      assert.equal(job?.state, "completed");
      const held = await bear.lock("mail", `lock-${number}`, 60_000);
      const next = bear.lock("mail", `lock-${number}`, 60_000, { wait: 10_000 });
      await bear.unlock("mail", `lock-${number}`, held as number);
      assert.ok((await next) as number > (held as number));
      await assert.rejects(bear.query("product", "nothing", 5), (error) => hasCode(error, "ERR"));
      assert.deepEqual((await bear.catalog())["sections"], ["mail", "page", "product"]);
      await bear.reload();
      assert.equal(await cluster.moved(), before);
    });

    it("a worker does the jobs, extends them, hears of a cancellation, and closes", async () => {
      const before = await cluster.moved();
      const worker = new Worker(bear, "mail", {
        SEND: async (job) => {
          await job.progress({ percent: 50 });
          await job.log("half of it");
          return job.data.subject;
        },
        SLOW: async (job) => {
          await sleep(job.data.ms, undefined, { signal: job.signal });
        },
      });
      atEnd(() => worker.close({ grace: 0 }));
      const ids = await Promise.all(Array.from({ length: 10 }, (_, at) => bear.enqueue("mail", "SEND", { to: "ann", subject: `${at}` })));
      const jobs = await Promise.all(ids.map((id) => bear.wait("mail", id)));
      assert.deepEqual(jobs.map((job) => [job?.state, job?.result, job?.log]), ids.map((_, at) => ["completed", `${at}`, 1]));
      // Longer than its lease of a second; then another one is cancelled, which it hears of before its heartbeat.
      const slow = await bear.enqueue("mail", "SLOW", { ms: 1500 });
      assert.equal((await bear.wait("mail", slow))?.attempts, 1);
      const unwanted = await bear.enqueue("mail", "SLOW", { ms: 60_000 });
      await eventually("it runs", () => worker.active.some(({ id }) => id === unwanted));
      assert.equal(await bear.cancel("mail", unwanted), "active");
      assert.equal((await bear.wait("mail", unwanted))?.state, "failed");
      await worker.close();
      assert.equal(await cluster.moved(), before);
      assert.doesNotMatch(await (await cluster.of("mail")).send("CLIENT LIST"), /cmd=bear\.claim/i);
    });

    it("refuses copies, for it cannot hear of all their ends", async () => {
      assert.throws(() => new Bear(bear.connection, { l1: true }), /not in a cluster/);
    });
  });
}

describe("slots that move", () => {
  for (const [name, connect] of [KINDS[1], KINDS[4]] as typeof KINDS) {
    it(`${name}: a worker and waits go on at the other node`, async () => {
      const bear = new Bear(await connect(), { waits: 2 });
      atEnd(() => bear.close());
      const worker = new Worker(bear, "mail", { SEND: (job) => job.data.subject }, { block: 500 });
      atEnd(() => worker.close({ grace: 0 }));
      assert.equal((await bear.wait("mail", await bear.enqueue("mail", "SEND", { to: "ann", subject: "before" })))?.result, "before");
      const from = await cluster.of("mail");
      await cluster.move("mail");
      assert.notEqual(await cluster.of("mail"), from);
      const id = await bear.enqueue("mail", "SEND", { to: "ann", subject: "after" });
      assert.equal((await bear.wait("mail", id))?.result, "after");
      await worker.close();
    });
  }
});
