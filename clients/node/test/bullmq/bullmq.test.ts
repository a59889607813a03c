// BullMQ's classes on bear: what an application does, and what bear adds to it. BullMQ's own tests run by suite.mjs.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import * as newestBackend from "bear/bullmq";
import * as newest from "bullmq";
import { Cluster, Redis } from "ioredis";
import { createClient } from "redis";
import { Program, eventually, freePort, newFolder } from "../support/processes.js";
import { BearServer, root } from "../support/server.js";

type BearQueueBackend = newestBackend.BearQueueBackend;

/** The backend beside another BullMQ, as an application that has that one has it. */
function beside(bullmq: string): typeof newestBackend {
  const [folder, client] = [newFolder("bullmq"), join(root, "clients/node")];
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(join(client, "node_modules", bullmq), join(folder, "node_modules/bullmq"));
  cpSync(join(client, "dist/cjs"), join(folder, "dist"), { recursive: true });
  return createRequire(join(folder, "dist/"))("./bullmq/index.js") as typeof newestBackend;
}

const oldest = createRequire(import.meta.url)("bullmq60") as typeof newest;

const CATALOG = `
[bullmq]
open = true
tenant = "text"
claim = { attempts = 100, keep = 0, keep_failed = 0 }

[work]
open = true
tenant = "text"
claim = { attempts = 100, keep = 0, keep_failed = 0 }
`;

let server: BearServer;
let redis: Redis;
let connection: { host: string; port: number; maxRetriesPerRequest: null };
const open: { close(): Promise<unknown> }[] = [];
let count = 0;

before(async () => {
  server = await BearServer.start({ catalog: CATALOG });
  redis = new Redis(server.port);
  connection = { host: "127.0.0.1", port: server.port, maxRetriesPerRequest: null };
});

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

after(async () => {
  redis.disconnect();
  await server.stop();
});

/** A record of names and values in turn. */
const record = (flat: unknown[]) => Object.fromEntries(Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at], flat[2 * at + 1]]));
const stats = async (space: string) => record((await redis.call("BEAR.STATS", space)) as unknown[]);
const jobs = async (space: string, state: string) => ((await redis.call("BEAR.JOBS", space, state)) as unknown[][]).map(record);

for (const [version, bullmq, backend] of [
  ["6.7.0", newest, newestBackend],
  ["6.0.0", oldest, beside("bullmq60")],
] as const) {
  const { bearBackend, createBearBackend } = backend;
  describe(`BullMQ ${version}`, () => {
    /** A queue of its own, and what makes workers and listeners of it. */
    function begin(factory = createBearBackend) {
      const name = `q-${++count}`;
      const queue = new bullmq.Queue<any, any, string, any, any, string, BearQueueBackend>(name, { connection }, factory as never);
      queue.on("error", () => undefined);
      open.push(queue);
      return {
        name,
        queue,
        space: `{${name}}:bullmq`,
        worker(processor: ((job: newest.Job, token?: string) => Promise<unknown>) | null, options: Partial<newest.WorkerOptions> = {}) {
          const worker = new bullmq.Worker(name, processor as never, { connection, ...options }, factory as never);
          worker.on("error", () => undefined);
          open.push(worker);
          return worker;
        },
        async events() {
          const events = new bullmq.QueueEvents(name, { connection }, factory);
          events.on("error", () => undefined);
          open.push(events);
          await events.waitUntilReady();
          return events;
        },
      };
    }

    it("keeps a job in bear's queue, has it claimed, and remembers what came of it", async () => {
      const { queue, space, worker, events } = begin();
      const data = { to: "ann@example.org", text: "“Hi” \u2028 \\ 1.50", big: 2 ** 53 };
      const job = await queue.add("welcome", data, { attempts: 3 });
      const [waiting] = await jobs(space, "waiting");
      assert.equal(waiting?.["job"], "welcome");
      assert.deepEqual(JSON.parse(waiting?.["data"] as string), { id: job.id, name: "welcome", data });

      const listener = await events();
      let claim: Record<string, unknown> | undefined;
      worker(async (active) => {
        [claim] = await jobs(space, "active");
        await active.updateProgress({ percent: 50 });
        await active.log("sent");
        return { messageId: active.data.to };
      }, { name: "mailer" });
      assert.deepEqual(await job.waitUntilFinished(listener), { messageId: "ann@example.org" });
      assert.equal(claim?.["worker"], "mailer");
      const done = await queue.getJob(job.id as string);
      assert.deepEqual(done?.data, data);
      assert.deepEqual(done?.returnvalue, { messageId: "ann@example.org" });
      assert.deepEqual(done?.progress, { percent: 50 });
      assert.equal(done?.processedBy, "mailer");
      assert.equal(await done?.getState(), "completed");
      assert.deepEqual((await queue.getJobLogs(job.id as string)).logs, ["sent"]);
      const after = await stats(space);
      assert.deepEqual([after["waiting"], after["active"], after["completed"]], [0, 0, 1]);
    });

    it("tries again after a backoff, and not after an UnrecoverableError", async () => {
      const { queue, worker } = begin();
      const attempts: [string, number][] = [];
      worker(async (job) => {
        attempts.push([job.name, job.attemptsMade]);
        if (job.name === "final") throw new newest.UnrecoverableError("no such address");
        if (job.attemptsMade < 2) throw new Error("busy");
        return "done";
      });
      const [twice, final] = await queue.addBulk([
        { name: "twice", data: {}, opts: { attempts: 3, backoff: { type: "fixed", delay: 20 } } },
        { name: "final", data: {}, opts: { attempts: 3, backoff: 20 } },
      ]);
      await eventually("both have ended", async () => (await twice?.isCompleted()) && (await final?.isFailed()));
      assert.deepEqual(attempts.filter(([name]) => name === "twice").map(([, made]) => made), [0, 1, 2]);
      assert.deepEqual(attempts.filter(([name]) => name === "final").length, 1);
      const failed = await queue.getJob(final?.id as string);
      assert.equal(failed?.failedReason, "no such address");
      assert.match(failed?.stacktrace?.[0] ?? "", /no such address/);
      await failed?.retry();
      await eventually("it was tried once more", () => attempts.filter(([name]) => name === "final").length === 2);
    });

    it("begins with those without a priority, then 1, 2, …, and with a delayed one when it is due", async () => {
      const { queue, worker } = begin();
      await queue.pause();
      for (const priority of [9, 2, 1, 3, 1]) await queue.add(`p${priority}`, {}, { priority });
      await queue.add("plain", {});
      const late = await queue.add("late", {}, { delay: 3_600_000 });
      assert.deepEqual(await queue.getJobCounts("waiting", "prioritized", "delayed"), { waiting: 1, prioritized: 5, delayed: 1 });
      const order: string[] = [];
      worker(async (job) => void order.push(job.name));
      await queue.resume();
      await eventually("those that are due are done", () => order.length === 6);
      const from = Date.now();
      await late.changeDelay(100);
      await eventually("the delayed one is done", () => late.isCompleted());
      assert.ok(((await queue.getJob(late.id as string))?.processedOn ?? 0) >= from + 100);
      assert.deepEqual(order, ["plain", "p1", "p1", "p2", "p3", "p9", "late"]);
    });

    it("begins with the last of jobs that are last in, first out, and keeps the order of many priorities", async () => {
      const { queue, worker } = begin();
      await queue.pause();
      await queue.addBulk([..."abcd"].map((name) => ({ name, data: {}, opts: { lifo: true } })));
      const priorities = Array.from({ length: 40 }, (_, n) => 1 + ((n * 17) % 40));
      const added = await queue.addBulk(priorities.map((priority) => ({ name: `${priority}`, data: {}, opts: { priority } })));
      await added[0]?.changePriority({ priority: 41 });
      await queue.add("plain", {});
      const order: string[] = [];
      worker(async (job) => void order.push(job.name));
      await queue.resume();
      await eventually("all are done", () => order.length === 45);
      assert.deepEqual(order.slice(0, 5), ["d", "c", "b", "a", "plain"]);
      assert.deepEqual(order.slice(5), [...priorities.slice(1).sort((a, b) => a - b).map(String), "1"]);
    });

    it("takes a job from a worker that is silent for a lease, and refuses its late word", async () => {
      const { queue, space, worker } = begin();
      const job = await queue.add("x", {});
      const slow = worker(null, { lockDuration: 50 });
      const held = await slow.getNextJob("slow");
      assert.equal(held?.id, job.id);
      const stalled: string[] = [];
      const quick = worker(async () => "by the other", { lockDuration: 1000, stalledInterval: 50 });
      quick.on("stalled", (id) => stalled.push(id));
      await eventually("the other has done it", () => job.isCompleted());
      assert.deepEqual(stalled, [job.id]);
      await assert.rejects(held?.moveToCompleted("too late", "slow", false) as Promise<unknown>, /Missing lock for job/);
      assert.equal((await queue.getJob(job.id as string))?.returnvalue, "by the other");
      assert.equal((await stats(space))["expired"], 1);
    });

    it("fails a job that stalls more often than it may", async () => {
      const { queue, worker } = begin();
      const job = await queue.add("x", {});
      const dead = worker(null, { lockDuration: 50 });
      assert.ok(await dead.getNextJob("dead"));
      worker(async () => assert.fail("it is not to be begun"), { lockDuration: 1000, stalledInterval: 50, maxStalledCount: 0 });
      await eventually("it has failed", () => job.isFailed());
      assert.equal((await queue.getJob(job.id as string))?.failedReason, "job stalled more than allowable limit");
    });

    it("limits how many are active over all workers by bear's own limit", async () => {
      const { queue, space, worker } = begin();
      await queue.setGlobalConcurrency(2);
      assert.equal(record((await stats(space))["limits"] as unknown[])["concurrency"], 2);
      let active = 0, most = 0;
      const process = async () => {
        most = Math.max(most, ++active);
        await new Promise((resolve) => setTimeout(resolve, 20));
        active--;
      };
      await queue.addBulk(Array.from({ length: 12 }, (_, n) => ({ name: `${n}`, data: n })));
      worker(process, { concurrency: 4 });
      worker(process, { concurrency: 4 });
      await eventually("all are done", async () => (await queue.getCompletedCount()) === 12);
      assert.equal(most, 2);
      await queue.removeGlobalConcurrency();
      assert.equal(record((await stats(space))["limits"] as unknown[])["concurrency"], null);
    });

    it("pauses and resumes bear's queue", async () => {
      const { queue, space, worker } = begin();
      await queue.pause();
      assert.equal((await stats(space))["paused"], 1);
      worker(async () => "done");
      const job = await queue.add("x", {});
      assert.deepEqual(await redis.call("BEAR.CLAIM", space), []);
      assert.equal(await job.getState(), "waiting");
      await queue.resume();
      assert.equal((await stats(space))["paused"], 0);
      await eventually("it is done", () => job.isCompleted());
    });

    it("does what a program without BullMQ has enqueued", async () => {
      const { queue, space, worker } = begin();
      const done: unknown[] = [];
      worker(async (job) => void done.push([job.name, job.data]), { drainDelay: 0.05 });
      const id = (await redis.call("BEAR.ENQUEUE", space, "digest", '{"for":[1,2]}')) as string;
      await eventually("it is done", () => done.length === 1);
      assert.deepEqual(done, [["digest", { for: [1, 2] }]]);
      await eventually("it is remembered", async () => (await (await queue.getJob(id))?.getState()) === "completed");
    });

    it("does a job once that was left twice in bear's queue", async () => {
      const { queue, space, worker } = begin();
      const job = await queue.add("x", { n: 1 });
      const [{ data } = {}] = await jobs(space, "waiting");
      await redis.call("BEAR.ENQUEUE", space, "x", data as string);
      const done: unknown[] = [];
      worker(async (job) => void done.push(job.id));
      await eventually("bear's queue is empty", async () => {
        const { waiting, active } = await stats(space);
        return waiting === 0 && active === 0;
      });
      assert.deepEqual(done, [job.id]);
      assert.equal(await queue.getCompletedCount(), 1);
    });

    it("works over node-redis", async () => {
      const raw = createClient({ url: server.url });
      await raw.connect();
      const connection = bullmq.createNodeRedisClient(raw as never);
      const queue = new bullmq.Queue(`q-${++count}`, { connection }, createBearBackend as never);
      const events = new bullmq.QueueEvents(queue.name, { connection }, createBearBackend);
      const worker = new bullmq.Worker(queue.name, async (job) => job.data.n + 1, { connection, concurrency: 2 }, createBearBackend as never);
      for (const each of [queue, events, worker] as { on(event: "error", act: () => void): unknown }[]) each.on("error", () => undefined);
      try {
        await events.waitUntilReady();
        const added = await queue.addBulk([1, 2, 3].map((n) => ({ name: "x", data: { n } })));
        assert.deepEqual(await Promise.all(added.map((job) => job.waitUntilFinished(events))), [2, 3, 4]);
        assert.equal(await queue.getWorkersCount(), 1);
      } finally {
        await worker.close();
        await events.close();
        await queue.close();
        await raw.close();
      }
    });

    it("runs a processor in a process, and in a thread, of its own", async () => {
      const file = join(newFolder("processor"), "double.cjs");
      writeFileSync(file, `module.exports = async (job) => { await job.updateProgress(50); await job.log("here"); return 2 * job.data.n; };`);
      for (const useWorkerThreads of [false, true]) {
        const { name, queue } = begin();
        const worker = new bullmq.Worker(name, file, { connection, useWorkerThreads }, createBearBackend as never);
        open.push(worker);
        const job = await queue.add("x", { n: 21 });
        await eventually("it is done", () => job.isCompleted());
        const done = await queue.getJob(job.id as string);
        assert.deepEqual([done?.returnvalue, done?.progress, (await queue.getJobLogs(job.id as string)).logs], [42, 50, ["here"]]);
      }
    });

    it("runs a scheduler until its limit", async () => {
      const { queue, worker } = begin();
      const runs: number[] = [];
      worker(async (job) => void runs.push(job.data.n));
      await queue.upsertJobScheduler("tick", { every: 100, limit: 3 }, { name: "tick", data: { n: 7 } });
      await eventually("it ran three times", () => runs.length === 3);
      assert.deepEqual(runs, [7, 7, 7]);
      await queue.removeJobScheduler("tick");
      assert.equal(await queue.getJobSchedulersCount(), 0);
    });

    it("adds one job of an id, and one of a deduplication key while it stands", async () => {
      const { queue, space } = begin();
      const ids = await Promise.all([1, 2, 3].map(() => queue.add("x", {}, { jobId: "order/7 \"a\" ü" })));
      assert.deepEqual([...new Set(ids.map((job) => job.id))], ["order/7 \"a\" ü"]);
      const [first, second] = [await queue.add("y", 1, { deduplication: { id: "k" } }), await queue.add("y", 2, { deduplication: { id: "k" } })];
      assert.equal(second.id, first.id);
      assert.equal(await queue.count(), 2);
      await redis.set(`bmq:${space}:id`, 299_999_999);
      assert.equal((await queue.add("z", {})).id, "300000000");
      await first.remove();
      const third = await queue.add("y", 3, { deduplication: { id: "k" } });
      assert.notEqual(third.id, first.id);
      await redis.del(`bmq:${space}:job:${third.id}`); // a key of a job that is gone, as after an outage, holds nothing up
      assert.notEqual((await queue.add("y", 4, { deduplication: { id: "k" } })).id, third.id);
    });

    it("begins the parent of a flow when its children in another queue have ended", async () => {
      const [parents, children] = [begin(), begin()];
      const flows = new bullmq.FlowProducer({ connection }, createBearBackend as never);
      open.push(flows);
      const child = (n: number) => ({ name: "part", queueName: children.name, data: { n } });
      const { job } = await flows.add({ name: "sum", queueName: parents.name, data: {}, children: [child(1), child(2), child(3)] });
      assert.equal(await job.getState(), "waiting-children");
      assert.equal((await stats(parents.space))["waiting"], 0);
      assert.equal((await stats(children.space))["waiting"], 3);
      const sums: number[] = [];
      parents.worker(async (job) => {
        const values = Object.values(await job.getChildrenValues<number>());
        sums.push(values.reduce((total, value) => total + value, 0));
      });
      children.worker(async (job) => 10 * job.data.n);
      await eventually("the parent is done", () => job.isCompleted());
      assert.deepEqual(sums, [60]);
    });

    it("fails a parent whose child fails, where the child says so", async () => {
      const { name, queue, worker } = begin();
      const flows = new bullmq.FlowProducer({ connection }, createBearBackend as never);
      open.push(flows);
      const child = { name: "bad", queueName: name, data: {}, opts: { failParentOnFailure: true } };
      const { job } = await flows.add({ name: "parent", queueName: name, data: {}, children: [child] });
      worker(async (job) => assert.equal(job.name, "parent"));
      await eventually("both have failed", async () => (await queue.getFailedCount()) === 2);
      assert.match((await queue.getJob(job.id as string))?.failedReason ?? "", /^child bull:.* failed$/);
      await job.remove();
      assert.equal(await queue.getFailedCount(), 0);
    });

    it("leaves nothing of an obliterated queue for workers", async () => {
      const { queue, space, worker } = begin();
      await queue.addBulk(Array.from({ length: 20 }, (_, n) => ({ name: "x", data: n, opts: n % 2 ? {} : { delay: 60_000 } })));
      const token = worker(null);
      assert.ok(await token.getNextJob("t"));
      await queue.obliterate({ force: true });
      const after = await stats(space);
      assert.deepEqual([after["waiting"], after["active"], after["delayed"], after["claims"], after["paused"]], [0, 0, 0, 0, 0]);
      assert.deepEqual((await redis.keys(`bmq:${space}:*`)).filter((key) => !key.endsWith(":meta")), []);
    });

    it("cleans and drains more than a slice of jobs, and forgets those that were removed from bear by hand", async () => {
      const { queue, space } = begin();
      const add = (count: number, opts: newest.JobsOptions) =>
        queue.addBulk(Array.from({ length: count }, (_, n) => ({ name: "x", data: n, opts })));
      await add(450, {});
      await add(450, { priority: 3 });
      await add(450, { delay: 3_600_000 });
      assert.equal((await queue.clean(0, 430, "wait")).length, 430);
      assert.equal((await queue.clean(0, 0, "delayed")).length, 450);
      assert.deepEqual(await queue.getJobCounts("waiting", "prioritized", "delayed"), { waiting: 20, prioritized: 450, delayed: 0 });
      const { waiting, delayed } = await stats(space);
      assert.deepEqual([waiting, delayed], [470, 0]);
      const [byHand] = await jobs(space, "waiting");
      await redis.call("BEAR.REMOVE", space, byHand?.["id"] as string);
      assert.equal(await queue.removeOrphanedJobs(), 1);
      await queue.drain();
      assert.equal(await queue.count(), 0);
      assert.equal((await stats(space))["waiting"], 0);
    });

    it("stands as bear's queue does, whatever is done", async () => {
      const { queue, space, worker } = begin();
      const hands = worker(null, { lockDuration: 60_000 });
      const held = new Map<string, newest.Job>();
      let seed = 7;
      const random = (below: number) => (seed = (seed * 48271) % 2147483647) % below; // the same at each run
      const one = async (...states: newest.JobType[]) => {
        const found = await queue.getJobs(states, 0, 20);
        return found[random(Math.max(found.length, 1))];
      };
      const acts: (() => Promise<unknown>)[] = [
        () => queue.add("x", { n: random(100) }, { attempts: 3 }),
        () => queue.add("x", {}, { priority: 1 + random(20), lifo: random(2) === 1 }),
        () => queue.add("x", {}, { lifo: true }),
        () => queue.add("x", {}, { delay: 3_600_000, priority: random(3) }),
        () => queue.add("x", {}, { deduplication: { id: `k${random(3)}`, replace: true, keepLastIfActive: random(2) === 1 } }),
        async () => {
          const job = await hands.getNextJob("t", { block: false });
          if (job) held.set(job.id as string, job);
        },
        async () => {
          const [id, job] = [...held][random(Math.max(held.size, 1))] ?? [];
          if (!job || !id) return;
          held.delete(id);
          const end = random(6);
          if (end < 2) await job.moveToCompleted(1, "t", false);
          else if (end === 2) await job.moveToFailed(new Error("no"), "t", false);
          else if (end === 3) await job.moveToDelayed(Date.now() + 3_600_000, "t");
          else if (end === 4) await job.moveToWait("t");
          else await job.moveToFailed(new newest.UnrecoverableError("never"), "t", false);
        },
        async () => (await one("delayed"))?.promote(),
        async () => (await one("delayed"))?.changeDelay(7_200_000),
        async () => (await one("waiting", "prioritized", "delayed"))?.changePriority({ priority: random(30), lifo: random(2) === 1 }),
        async () => (await one("waiting", "prioritized", "delayed", "active"))?.updateData({ n: random(9) }),
        async () => (await one("waiting", "prioritized", "delayed", "completed", "failed"))?.remove(),
        async () => (await one("failed"))?.retry("failed"),
        async () => (await one("completed"))?.retry("completed"),
      ];
      for (let step = 1; step <= 600; step++) {
        await acts[random(acts.length)]?.();
        if (step % 60 > 0) continue;
        const bear = new Map<string, string>();
        for (const state of ["waiting", "delayed", "active"]) {
          const page = (await redis.call("BEAR.JOBS", space, state, "COUNT", "1000")) as unknown[][];
          for (const job of page.map(record)) bear.set(JSON.parse(job["data"] as string).id, state);
        }
        const ours = new Map<string, string>();
        for (const state of ["wait", "prioritized", "delayed", "active"]) {
          for (const id of await redis.zrange(`bmq:${space}:${state}`, "0", "-1")) {
            assert.ok(!ours.has(id), `${id} stands once`);
            ours.set(id, state === "wait" || state === "prioritized" ? "waiting" : state);
          }
        }
        assert.deepEqual([...ours].sort(), [...bear].sort(), `after ${step} steps`);
        assert.deepEqual((await queue.getActive()).map((job) => job.id).sort(), [...held.keys()].sort());
      }
      for (const [, job] of held) await job.moveToCompleted(1, "t", false);
      const jobsOfBear = (await redis.call("BEAR.JOBS", space, "waiting", "COUNT", "1000")) as unknown[];
      for (let n = jobsOfBear.length; n > 0; n--) {
        const [first] = [...(await redis.zrange(`bmq:${space}:wait`, "0", "0")), ...(await redis.zrange(`bmq:${space}:prioritized`, "0", "0"))];
        assert.equal((await hands.getNextJob("t", { block: false }))?.id, first, "the next one is that which getters show first");
      }
    });

    it("has a queue in the section that it is told", async () => {
      const { name, queue } = begin(bearBackend({ section: "work" }));
      await queue.add("x", {});
      assert.equal((await stats(`{${name}}:work`))["waiting"], 1);
      assert.equal(queue.getBackend().space, `{${name}}:work`);
    });
  });
}

it("works in a Redis Cluster, but for flows", async () => {
  const node = await BearServer.start({ catalog: CATALOG, settings: ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"] });
  await node.send("CLUSTER ADDSLOTSRANGE 0 16383");
  await eventually("the cluster is up", async () => (await node.send("CLUSTER INFO")).includes("cluster_state:ok"));
  const connection = new Cluster([{ host: "127.0.0.1", port: node.port }], { redisOptions: { maxRetriesPerRequest: null } });
  const { createBearBackend } = newestBackend;
  const queue = new newest.Queue("q", { connection }, createBearBackend);
  const events = new newest.QueueEvents("q", { connection }, createBearBackend);
  const worker = new newest.Worker("q", async (job) => job.data.n + 1, { connection }, createBearBackend);
  const flows = new newest.FlowProducer({ connection }, createBearBackend);
  for (const each of [queue, events, worker, flows] as { on(event: "error", act: () => void): unknown }[]) each.on("error", () => undefined);
  try {
    await events.waitUntilReady();
    const [now, later] = await queue.addBulk([{ name: "x", data: { n: 1 } }, { name: "x", data: { n: 2 }, opts: { delay: 100 } }]);
    assert.deepEqual([await now?.waitUntilFinished(events), await later?.waitUntilFinished(events)], [2, 3]);
    const children = [{ name: "x", queueName: "other", data: {} }];
    await assert.rejects(flows.add({ name: "x", queueName: "q", data: {}, children }), /slot|node/i);
  } finally {
    for (const each of [worker, events, queue, flows]) await each.close();
    connection.disconnect();
    await node.stop();
  }
});

it("says so where Redis has not loaded bear", async () => {
  const [port, folder] = [await freePort(), newFolder("plain")];
  const words = [process.env["BEAR_TEST_SERVER"] ?? "redis-server", "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder];
  const plain = await Program.start(words, { signal: "TERM", log: join(folder, "log") });
  const queue = new newest.Queue("q", { connection: { host: "127.0.0.1", port } }, newestBackend.createBearBackend);
  queue.on("error", () => undefined);
  try {
    await assert.rejects(queue.add("x", {}), /this Redis has not loaded bear, on which the queue is/);
  } finally {
    await queue.close();
    await plain.end();
  }
});

it("loses no job, and no outcome, when Redis is killed", async () => {
  const killed = await BearServer.start({ catalog: CATALOG });
  const connection = { host: "127.0.0.1", port: killed.port, maxRetriesPerRequest: null, retryStrategy: () => 50 };
  const { createBearBackend } = newestBackend;
  const queue = new newest.Queue("crash", { connection }, createBearBackend);
  const done = new Map<string, number>();
  const worker = new newest.Worker(
    "crash",
    async (job) => void done.set(job.id as string, (done.get(job.id as string) ?? 0) + 1),
    { connection, concurrency: 5, lockDuration: 1000, stalledInterval: 200, drainDelay: 1 },
    createBearBackend,
  );
  queue.on("error", () => undefined);
  worker.on("error", () => undefined);
  try {
    const added: string[] = [];
    let isOver = false;
    const producer = (async () => {
      for (let n = 0; !isOver; n++) {
        const job = await queue.add("x", { n }, { jobId: `n${n}` }).catch(() => undefined);
        if (job) added.push(job.id as string);
      }
    })();
    for (const _ of [1, 2]) {
      const before = added.length;
      await eventually("jobs are added", () => added.length > before + 100);
      await killed.stop("KILL");
      await killed.startAgain();
    }
    isOver = true;
    await producer;
    await eventually("each is done", () => added.every((id) => done.has(id)));
    await eventually("each is remembered", async () => {
      const counts = await queue.getJobCounts("completed", "failed", "waiting", "active");
      return counts["waiting"] === 0 && counts["active"] === 0 && (counts["completed"] ?? 0) >= added.length && counts["failed"] === 0;
    });
  } finally {
    await worker.close(true);
    await queue.close();
    await killed.stop();
  }
});
