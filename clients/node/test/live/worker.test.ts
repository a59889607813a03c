import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { before, describe, it } from "node:test";
import { inBatches, JobAborted, RetryAfter, UnrecoverableError, Worker, type Bear, type WorkerOptions } from "bear";
import { KINDS, type Kind } from "../support/clients.js";
import { eventually } from "../support/processes.js";
import type { BearServer } from "../support/server.js";
import { atEnd, bearOf, shop, TWO } from "../support/shop.js";

let server: BearServer;

before(async () => {
  server = await shop();
});

/** A client and a worker on an empty queue. */
async function working(kind: Kind, handlers: ConstructorParameters<typeof Worker>[2], options: WorkerOptions = {}, url = server.url) {
  const { bear, close } = await bearOf(kind, url);
  for (const state of ["waiting", "delayed"] as const) await bear.clean("mail", state);
  const worker = new Worker(bear, "mail", handlers, options);
  atEnd(() => worker.close({ grace: 0 }));
  const errors: Error[] = [];
  worker.on("error", (error) => errors.push(error));
  const end = async () => {
    await worker.close();
    await close();
  };
  return { bear, worker, errors, end };
}

/** Is a worker blocked in BEAR.CLAIM? */
const isClaiming = async () => /flags=b .*cmd=bear\.claim/i.test(await server.send("CLIENT LIST"));

const send = (bear: Bear, subject: string, options = {}) => bear.enqueue("mail", "SEND", { to: "ann@example.org", subject }, options);

describe("batches", () => {
  it("a handler is given what one claim has brought, and each job ends by itself", async () => {
    const sizes: number[] = [];
    const { bear, worker, errors, end } = await working(TWO[0] as Kind, {
      SEND: inBatches<{ subject: string }, string>(10, async (jobs) => {
        sizes.push(jobs.length);
        await sleep(20);
        return jobs.map(({ data: { subject } }) => (subject === "3" ? new UnrecoverableError("not this one") : `done ${subject}`));
      }),
      SLOW: inBatches(4, async (jobs) => {
        throw new UnrecoverableError(`all ${jobs.length}`);
      }),
    }, { concurrency: 10, autorun: false });
    const ids = await Promise.all(Array.from({ length: 25 }, (_, at) => send(bear, `${at}`)));
    worker.start();
    const jobs = await Promise.all(ids.map((id) => bear.wait("mail", id)));
    assert.deepEqual(jobs.map((job) => job?.result ?? job?.error?.message), ids.map((_, at) => (at === 3 ? "not this one" : `done ${at}`)));
    assert.equal(sizes[0], 10);
    assert.equal(sizes.reduce((all, one) => all + one, 0), 25);
    assert.ok(Math.max(...sizes) <= 10 && sizes.length < 12, `${sizes}`);
    worker.pause();
    const slow = await Promise.all(Array.from({ length: 6 }, () => bear.enqueue("mail", "SLOW", { ms: 1 })));
    worker.resume();
    const failed = await Promise.all(slow.map((id) => bear.wait("mail", id)));
    assert.deepEqual(failed.map((job) => job?.state), Array(6).fill("failed"));
    assert.deepEqual(errors, []);
    await end();
  });
});

describe("traces", () => {
  const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const active = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

  it("what is enqueued has the active span, or its own; a job is done within one that begins there", async () => {
    const { bear, close } = await bearOf(TWO[0] as Kind, server.url, { telemetry: { traceparent: () => active, process } });
    const spans: string[] = [];
    async function process<T>(job: { traceparent?: string }, run: () => Promise<T>): Promise<T> {
      try {
        return await run();
      } finally {
        spans.push(job.traceparent ?? "none");
      }
    }
    const worker = new Worker(bear, "mail", {
      SEND: async ({ traceparent, data }) => {
        if (data.subject === "broken") throw new UnrecoverableError("broken");
        return traceparent;
      },
    }, { concurrency: 1 });
    atEnd(() => worker.close({ grace: 0 }));
    assert.equal((await bear.wait("mail", await send(bear, "one")))?.result, active);
    assert.equal((await bear.wait("mail", await send(bear, "two", { traceparent: given })))?.result, given);
    assert.equal((await bear.wait("mail", await send(bear, "broken")))?.error?.message, "broken");
    assert.deepEqual(spans, [active, given, active]);
    await assert.rejects(send(bear, "three", { traceparent: "none" }), /TRACEPARENT must be a traceparent/);
    await worker.close();
    await close();
  });

  it("no telemetry, no trace", async () => {
    const { bear, end } = await working(TWO[1] as Kind, { SEND: (job) => "traceparent" in job });
    assert.equal((await bear.wait("mail", await send(bear, "plain")))?.result, false);
    await end();
  });
});

for (const kind of KINDS) {
  describe(kind.name, () => {
    it("jobs are done, as many at a time as it may, with results, progress and logs", async () => {
      let now = 0;
      let most = 0;
      const { bear, worker, errors, end } = await working(kind, {
        SEND: async (job) => {
          most = Math.max(most, ++now);
          await job.progress({ percent: 50 });
          await job.log(`to ${job.data.to}`);
          await sleep(20);
          now--;
          return { sent: job.data.subject };
        },
      }, { concurrency: 4 });
      const ids = await Promise.all(Array.from({ length: 20 }, (_, at) => send(bear, `${at}`)));
      const jobs = await Promise.all(ids.map((id) => bear.wait("mail", id)));
      assert.deepEqual(jobs.map((job) => [job?.state, job?.result, job?.progress, job?.log]), ids.map((_, at) => ["completed", { sent: `${at}` }, { percent: 50 }, 1]));
      assert.ok(most > 1 && most <= 4, `${most} at a time`);
      assert.equal(worker.active.length, 0);
      assert.deepEqual(errors, []);
      await end();
    });

    it("a throw is an attempt, one that is final the last, and one may say when to try again", async () => {
      const seen: string[] = [];
      const { bear, end } = await working(kind, {
        SEND: (job) => {
          seen.push(`${job.data.subject} ${job.attempt}`);
          if (job.data.subject === "never") throw new UnrecoverableError("no such address");
          if (job.data.subject === "later" && job.attempt === 1) throw new RetryAfter(0, "busy");
          if (job.data.subject === "twice" && job.attempt === 1) throw new Error("once more");
        },
      });
      const [never, later, twice] = await Promise.all(["never", "later", "twice"].map((subject) => send(bear, subject)));
      const job = await bear.wait("mail", never as string);
      assert.deepEqual([job?.state, job?.error?.message, job?.attempts], ["failed", "no such address", 1]);
      assert.match(job?.stack ?? "", /worker\.test/);
      assert.equal((await bear.wait("mail", later as string))?.attempts, 2);
      assert.equal((await bear.wait("mail", twice as string))?.state, "completed");
      assert.deepEqual(seen.filter((each) => each.startsWith("never")), ["never 1"]);
      await end();
    });

    it("BEAR.CANCEL aborts the job's signal at once", async () => {
      const { bear, worker, end } = await working(kind, { SEND: (job) => once(job.signal, "abort").then(() => job.signal.throwIfAborted()) });
      const id = await send(bear, "long");
      await eventually("it runs", () => worker.active.length === 1);
      await eventually("it listens", async () => !(await server.send("PUBSUB CHANNELS bear:events:mail")).startsWith("*0"));
      const begun = performance.now();
      await bear.cancel("mail", id, "not wanted");
      const job = await bear.wait("mail", id);
      assert.equal(job?.state, "failed");
      assert.ok(performance.now() - begun < 600, "before the next heartbeat would tell"); // of its lease of 2 s
      await end();
    });

    it("an idle worker closes at once, and claims nothing more", async () => {
      const { bear, worker, end } = await working(kind, { SEND: () => {} }, { block: 60_000 });
      await eventually("it waits for jobs", isClaiming);
      const begun = performance.now();
      await worker.close();
      assert.ok(performance.now() - begun < 1000);
      const id = await send(bear, "after");
      assert.equal((await bear.job("mail", id))?.state, "waiting");
      await bear.remove("mail", id);
      await end();
    });
  });
}

for (const kind of TWO) {
  describe(`a worker, ${kind.name}`, () => {
    it("a job may take longer than its lease: heartbeats hold it", async () => {
      const { bear, end } = await working(kind, { SLOW: async (job) => sleep(job.data.ms, job.attempt) });
      const { expired } = await bear.stats("mail");
      const job = await bear.wait("mail", await bear.enqueue("mail", "SLOW", { ms: 2500 })); // its lease is 1 s
      assert.deepEqual([job?.state, job?.result, job?.attempts], ["completed", 1, 1]);
      assert.equal((await bear.stats("mail")).expired, expired);
      await end();
    });

    it("a job that is lost is aborted, and nothing is said of it", async () => {
      const { bear, worker, errors, end } = await working(kind, {
        SLOW: async (job) => {
          if (job.attempt > 1) return "second";
          await bear.fail(job, "taken away", { backoff: 60_000 }); // as when its lease had ended
          await once(job.signal, "abort");
          return "first";
        },
      });
      const lost = once(worker, "lost");
      const id = await bear.enqueue("mail", "SLOW", { ms: 0 });
      const [, reason] = await lost;
      assert.ok(reason instanceof JobAborted && reason.reason === "lost");
      assert.equal((await bear.job("mail", id))?.state, "delayed");
      await bear.promote("mail", id);
      assert.equal((await bear.wait("mail", id))?.result, "second");
      assert.deepEqual(errors, []);
      await end();
    });

    it("close waits for what runs, and leaves the rest to others", async () => {
      let begun = 0;
      const { bear, worker, end } = await working(kind, { SEND: async () => { begun++; await sleep(200); return "done"; } }, { concurrency: 2 });
      const ids = await Promise.all([1, 2, 3, 4].map((each) => send(bear, `${each}`)));
      await eventually("two run", () => begun === 2);
      await worker.close();
      assert.deepEqual((await Promise.all(ids.map((id) => bear.job("mail", id)))).map((job) => job?.state), ["completed", "completed", "waiting", "waiting"]);
      assert.equal((await bear.stats("mail")).claims, 0);
      await end();
    });

    it("what does not end within the grace is aborted, and given back without an attempt, also where it does not listen", async () => {
      const aborted: unknown[] = [];
      const { bear, worker, end } = await working(kind, {
        SEND: (job) => {
          job.signal.addEventListener("abort", () => aborted.push((job.signal.reason as JobAborted).reason));
          if (job.data.subject === "listens") return once(job.signal, "abort").then(() => job.signal.throwIfAborted());
          return new Promise(() => {});
        },
      });
      const ids = await Promise.all(["listens", "deaf"].map((subject) => send(bear, subject)));
      await eventually("both run", () => worker.active.length === 2);
      await worker.close({ grace: 50 });
      assert.deepEqual(aborted, ["closing", "closing"]);
      for (const id of ids) {
        const job = await bear.job("mail", id);
        assert.deepEqual([job?.state, job?.attempts], ["waiting", 0]);
      }
      await end();
    });

    it("pause claims nothing, resume goes on", async () => {
      const { bear, worker, end } = await working(kind, { SEND: () => "done" }, { block: 60_000 });
      await eventually("it waits for jobs", isClaiming);
      worker.pause();
      await eventually("it waits no more", async () => !(await isClaiming()));
      const id = await send(bear, "paused");
      assert.equal((await bear.job("mail", id))?.state, "waiting");
      worker.resume();
      assert.equal((await bear.wait("mail", id))?.state, "completed");
      await end();
    });

    it("a result that cannot be kept does not undo the job", async () => {
      const { bear, errors, end } = await working(kind, { SEND: (job) => (job.data.subject === "large" ? "x".repeat(70_000) : { self: 1n }) });
      for (const subject of ["large", "strange"]) {
        const job = await bear.wait("mail", await send(bear, subject));
        assert.deepEqual([job?.state, job?.attempts, job?.result], ["completed", 1, null]);
      }
      assert.equal(errors.length, 2);
      await end();
    });

    it("a Redis that is killed and started again: what runs goes on, and all is completed once", async () => {
      const own = await shop();
      const done = new Map<string, number>();
      const { bear, worker, end } = await working(kind, {
        SEND: async (job) => {
          await sleep(100);
          return job.attempt;
        },
      }, { concurrency: 3 }, own.url);
      worker.on("completed", ({ id }) => done.set(id, (done.get(id) ?? 0) + 1));
      const ids = await Promise.all(Array.from({ length: 30 }, (_, at) => send(bear, `${at}`)));
      for (let round = 1; round <= 2; round++) {
        await eventually("some are done", () => done.size >= round * 6);
        await own.stop("KILL");
        await sleep(150); // some end meanwhile
        await own.startAgain();
      }
      const jobs = await Promise.all(ids.map((id) => bear.wait("mail", id)));
      assert.ok(jobs.every((job) => job?.state === "completed"));
      // An answer to a CLAIM that was lost costs an attempt, after its lease; what was claimed is held over the restart.
      const again = jobs.filter((job) => (job?.attempts ?? 0) > 1).length;
      assert.ok(again <= 2 * 3, `${again} were done again`);
      assert.ok([...done.values()].every((count) => count === 1), "none is reported twice");
      await end();
    });
  });
}
