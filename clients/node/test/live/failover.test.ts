// A worker and a client over a failover by Sentinel: the master is killed, its replica promoted.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { Redis as Redis6 } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createSentinel as createSentinel6 } from "redis";
import { createSentinel as createSentinel5 } from "redis5";
import { Bear, Worker, type RedisLike } from "bear";
import { Program, eventually, freePort, newFolder } from "../support/processes.js";
import { BearServer } from "../support/server.js";
import { atEnd } from "../support/shop.js";

const CATALOG = "clients/node/test/catalogs/shop.toml";

async function sentinel(master: number): Promise<number> {
  const folder = newFolder("sentinel");
  const port = await freePort();
  const file = join(folder, "sentinel.conf");
  writeFileSync(file, [
    `port ${port}`, "bind 127.0.0.1", `dir ${folder}`, `sentinel monitor jobs 127.0.0.1 ${master} 1`,
    "sentinel down-after-milliseconds jobs 300", "sentinel failover-timeout jobs 3000", "sentinel parallel-syncs jobs 1", "",
  ].join("\n"));
  const program = await Program.start([process.env["BEAR_TEST_SERVER"] ?? "redis-server", file, "--sentinel"], { signal: "TERM", log: join(folder, "log") });
  atEnd(() => program.end());
  return port;
}

const ofIoredis = async (redis: Redis5 | Redis6): Promise<RedisLike> => {
  redis.on("error", () => {});
  atEnd(() => redis.disconnect());
  return redis;
};

const ofNodeRedis = async (sentinel: any): Promise<RedisLike> => {
  sentinel.on("error", () => {});
  atEnd(() => sentinel.destroy());
  await sentinel.connect();
  return sentinel;
};

const roots = (port: number) => ({ name: "jobs", sentinelRootNodes: [{ host: "127.0.0.1", port }] });

const KINDS: [name: string, connect: (port: number) => Promise<RedisLike>][] = [
  ["ioredis 6", (port) => ofIoredis(new Redis6({ sentinels: [{ host: "127.0.0.1", port }], name: "jobs", protocol: 3 }))],
  ["ioredis 5", (port) => ofIoredis(new Redis5({ sentinels: [{ host: "127.0.0.1", port }], name: "jobs" }))],
  ["redis 6, createSentinel", (port) => ofNodeRedis(createSentinel6({ ...roots(port), RESP: 3 }))],
];

for (const [name, connect] of KINDS) {
  it(`${name}: all jobs are completed, waits end, and what runs over the failover is done once`, async () => {
    const master = await BearServer.start({ catalog: CATALOG });
    const replica = await BearServer.start({ catalog: CATALOG, settings: ["--replicaof", "127.0.0.1", String(master.port)] });
    atEnd(() => replica.stop());
    await eventually("the replica is in sync", async () => (await replica.send("INFO replication")).includes("master_link_status:up"));
    const port = await sentinel(master.port);
    const redis = await connect(port);
    const bear = new Bear(redis);
    const runs = new Map<string, number>();
    let isHeld = true;
    const worker = new Worker(bear, "mail", async (job) => {
      runs.set(job.id, (runs.get(job.id) ?? 0) + 1);
      while (isHeld) await new Promise((resolve) => setTimeout(resolve, 10));
      // node-redis takes seconds to follow: within the catalog's lease of two it may not.
    }, { concurrency: 4, ...(name.includes("createSentinel") ? { lease: 20_000 } : {}) });
    atEnd(async () => {
      await worker.close({ grace: 0 });
      await bear.close();
    });
    const ids = await Promise.all(Array.from({ length: 20 }, (_, at) => bear.enqueue("mail", "SEND", { to: "a", subject: `${at}` })));
    const waiting = Promise.all(ids.map((id) => bear.wait("mail", id, { timeout: 60_000 })));
    await eventually("four are held", () => worker.active.length === 4);
    const held = worker.active.map(({ id }) => id);
    assert.equal(await bear.send(["WAIT", 1, 5000]), 1); // jobs and claims have reached the replica
    await eventually("Sentinel knows the replica", async () => (await sent(port, "SENTINEL REPLICAS jobs")).includes(String(replica.port)));
    await master.stop("KILL");
    await eventually("the replica is the master", async () => (await replica.send("ROLE")).includes("master"));
    isHeld = false;
    assert.equal(await bear.getOrSet("page", ["shelf", "failover"], () => "computed"), "computed"); // where it is lost it is computed without a lease
    const jobs = await waiting;
    assert.ok(jobs.every((job) => job?.state === "completed"));
    // The claims went over with the data: the same attempt was acknowledged at the new master.
    assert.deepEqual(held.map((id) => runs.get(id)), [1, 1, 1, 1]);
    assert.deepEqual(jobs.map((job) => job?.attempts), jobs.map(() => 1));
  });
}

it("createSentinel of redis 5 is refused, for it cannot be duplicated", () => {
  const sentinel = createSentinel5({ name: "jobs", sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }] });
  assert.throws(() => new Bear(sentinel as unknown as RedisLike), /take redis 6, or ioredis/);
});

/** One command to a Sentinel: the bytes of the reply. */
async function sent(port: number, command: string): Promise<string> {
  const redis = new Redis6({ port, lazyConnect: true });
  const [name, ...words] = command.split(" ") as [string, ...string[]];
  try {
    return JSON.stringify(await redis.call(name, ...words));
  } finally {
    redis.disconnect();
  }
}
