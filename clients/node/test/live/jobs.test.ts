import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { BearError, DuplicateError, LockNotHad } from "bear";
import { KINDS } from "../support/clients.js";
import { eventually } from "../support/processes.js";
import type { BearServer } from "../support/server.js";
import { bearOf, ONE, percentile, shop, TWO } from "../support/shop.js";

let server: BearServer;

before(async () => {
  server = await shop();
});

for (const [number, kind] of KINDS.entries()) {
  describe(kind.name, () => {
    it("an SQL job is enqueued, waited for, and its effect is seen", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const id = 400 + number;
      await bear.query("product", id);
      const job = await bear.enqueue("product", "SET_PRICE", { id, price: 1.5 }, { unique: `price-${number}` });
      const settled = await bear.wait<{ id: number }>("product", job);
      assert.ok(settled);
      assert.deepEqual([settled.id, settled.job, settled.state, settled.data, settled.rows, settled.error], [job, "SET_PRICE", "completed", { id, price: 1.5 }, 1, null]);
      assert.equal((await bear.query<{ price: number }>("product", id)).price, 1.5);
      assert.equal(await bear.enqueue("product", "SET_PRICE", { id, price: 1.5 }, { unique: `price-${number}` }), job);
      assert.equal((await bear.wait("product", { unique: `price-${number}` }))?.id, job);
      await assert.rejects(bear.enqueue("product", "SET_PRICE", { id, price: 2 }, { unique: `price-${number}` }), (error) => {
        assert.ok(error instanceof DuplicateError);
        assert.equal(error.id, job);
        return true;
      });
      await close();
    });

    it("a job that fails tells why, and is tried again", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const job = await bear.enqueue("product", "SET_PRICE", { id: 90_000 + number, price: 1 }, { attempts: 1 });
      const failed = await bear.wait("product", job);
      assert.equal(failed?.state, "failed");
      assert.equal(typeof failed?.error?.message, "string");
      assert.ok((await bear.jobs("product", "failed", { newest: true, count: 1 }))[0]?.id === job);
      await server.sql(`INSERT INTO product VALUES (${90_000 + number}, 'new', 0, 'rest')`);
      const [again] = await bear.retry("product", [job]);
      assert.equal((await bear.wait("product", again as string))?.state, "completed");
      await close();
    });

    it("a delayed job is promoted, removed, cleaned; what is unknown is null", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const [one, two, three] = (await Promise.all(
        [1, 2, 3].map((each) => bear.enqueue("product", "SET_PRICE", { id: 500 + number, price: each }, { delay: 60_000, backoff: 5 })),
      )) as [string, string, string];
      assert.equal((await bear.job("product", one))?.state, "delayed");
      assert.equal(await bear.promote("product", one), 1);
      assert.equal((await bear.wait("product", one))?.state, "completed");
      // For a moment after it was enqueued a delayed one is active: the ledger learns of it.
      await eventually("it is removed", () => bear.remove("product", two));
      assert.equal(await bear.job("product", two), null);
      assert.equal(await bear.wait("product", two), null);
      await eventually("the last one is cleaned", async () => (await bear.clean("product", "delayed")) >= 1);
      assert.equal(await bear.job("product", three), null);
      await close();
    });

    it("a claimed job is extended, logged, acknowledged; and another failed", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const id = await bear.enqueue("mail", "SEND", { to: "ann@example.org", subject: "Hello" }, { priority: 9, attempts: 2, at: new Date() });
      const [claim] = await bear.claim<{ to: string }>("mail", { jobs: ["SEND"], worker: "tester", lease: 5000 });
      assert.ok(claim);
      assert.deepEqual(
        [claim.id, claim.job, claim.data.to, claim.attempt, claim.attempts, claim.leaseMs, claim.priority, claim.space],
        [id, "SEND", "ann@example.org", 1, 2, 5000, 9, "mail"],
      );
      assert.ok(Number.isSafeInteger(claim.token));
      assert.equal(await bear.extend(claim, { progress: { percent: 40 } }), 5000);
      assert.equal(await bear.log(claim, "connected"), 1);
      assert.deepEqual((await bear.logs("mail", id)).map(({ n, text }) => [n, text]), [[1, "connected"]]);
      const active = await bear.job("mail", id);
      assert.deepEqual([active?.state, active?.worker, active?.progress, active?.log], ["active", "tester", { percent: 40 }, 1]);
      assert.equal(await bear.fail(claim, "no route", { backoff: 0, stack: "at mail.ts" }), "waiting");
      const [second] = await bear.claim("mail", { block: 1000 });
      assert.equal(second?.attempt, 2);
      assert.equal((await bear.job("mail", id))?.errors?.[0]?.message, "no route");
      await assert.rejects(bear.ack(claim), (error) => error instanceof BearError && error.code === "LOST");
      assert.ok(second);
      await bear.ack(second, { sent: true });
      assert.deepEqual((await bear.wait("mail", id))?.result, { sent: true });
      await close();
    });

    it("claims are acknowledged together, released, cancelled, given another payload", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const ids = await Promise.all([1, 2, 3].map((each) => bear.enqueue("mail", "SEND", { to: "a", subject: `${each}` })));
      await bear.update("mail", ids[2] as string, { to: "b", subject: "3" });
      const [one, two, three] = (await bear.claim<{ to: string }>("mail", { count: 3 })) as [never, never, never];
      assert.equal((three as { data: { to: string } }).data.to, "b");
      assert.equal(await bear.cancel("mail", ids[2] as string, "not wanted"), "active");
      await assert.rejects(bear.extend(three), { code: "CANCELLED", message: "not wanted" });
      assert.equal(await bear.release(three), "failed");
      const done = await bear.ackAll("mail", [one, two, three]);
      assert.equal(done.accepted, 2);
      assert.deepEqual(done.refused.map(({ id, error }) => [id, (error as BearError).code]), [[ids[2], "LOST"]]);
      assert.equal((await bear.ackAll("mail", [one])).refused.length, 1);
      await bear.clean("mail", "failed");
      await close();
    });

    it("figures, pause, limits of the queue", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      await bear.pause("mail");
      assert.equal((await bear.stats("mail")).paused, 1);
      await bear.resume("mail");
      await bear.limitQueue("mail", { concurrency: 5, rate: "80/s" });
      const stats = await bear.stats("mail");
      assert.deepEqual([stats.paused, stats.limits.concurrency, stats.limits.rate, stats.limits.set], [0, 5, "80/s", 1]);
      assert.ok(stats.jobs?.some(({ job }) => job === "SEND"));
      await bear.limitQueue("mail", "default");
      await close();
    });

    it("schedules", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const name = `nightly-${number}`;
      await bear.schedule("mail", name, { cron: "0 9 * * mon-fri", zone: "Europe/Berlin", job: "SEND", data: { to: "all", subject: "x" }, priority: 7, from: new Date(4102444800000) });
      await bear.schedule("product", name, { every: 60_000, query: ["in", "lamps"], limit: 2 });
      const [found] = (await bear.schedules("mail")).filter((each) => each.name === name);
      assert.deepEqual([found?.cron, found?.zone, found?.job, found?.data, found?.next.length, found?.source], ["0 9 * * mon-fri", "Europe/Berlin", "SEND", { to: "all", subject: "x" }, 3, "command"]);
      assert.equal(await bear.unschedule("mail", name), true);
      assert.equal(await bear.unschedule("mail", name), false);
      assert.equal(await bear.unschedule("product", name), true);
      await close();
    });

    it("locks and limits", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const name = `lock-${number}`;
      const token = await bear.lock("mail", name, 5000);
      assert.ok(token);
      assert.equal(await bear.lock("mail", name, 5000), null);
      assert.equal(await bear.lock("mail", name, 5000, { wait: 20 }), null);
      assert.equal(await bear.extendLock("mail", name, token, 100), true);
      const later = await bear.lock("mail", name, 5000, { wait: 5000 });
      assert.ok(later && later > token);
      assert.equal(await bear.unlock("mail", name, token), false);
      assert.equal(await bear.unlock("mail", name, later), true);
      const key = `user:${number}`;
      assert.deepEqual(await bear.limit("mail", { burst: 1, count: 1, period: 3_600_000 }, key), { limited: false, limit: 2, remaining: 1, retryAfter: null, resetAfter: 3_600_000 });
      for (let round = 0; round < 3; round++) await bear.limit("product", "search", key);
      const limited = await bear.limit("product", "search", key);
      assert.ok(limited.limited && limited.retryAfter !== null && limited.retryAfter > 0);
      await close();
    });

    it("what operators ask", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      assert.deepEqual((await bear.catalog())["sections"], ["mail", "page", "product"]);
      const catalog = await bear.catalog("product");
      assert.ok((catalog["queries"] as { call: string }[]).some(({ call }) => call === "large {chars:int}"));
      assert.equal((await bear.feed())["kind"], "off");
      await bear.query("product", 1);
      assert.ok(Number((await bear.verify("product", { count: 10 }))["checked"]) >= 1);
      await bear.reload();
      await close();
    });
  });
}

for (const kind of TWO) {
  describe(`waits and locks, ${kind.name}`, () => {
    it("three hundred waits over two connections all end, and hold up neither hits nor misses", async () => {
      const { bear, close } = await bearOf(kind, server.url, { waits: 2 });
      await bear.query("product", 1);
      await bear.pause("mail");
      const ids = await Promise.all(Array.from({ length: 300 }, (_, at) => bear.enqueue("mail", "SEND", { to: "w", subject: `${at}` })));
      const waiting = Promise.all(ids.map((id) => bear.wait("mail", id)));
      const begun = performance.now();
      await bear.query("product", 1);
      await bear.query("product", "slow", 1, 77_000);
      assert.ok(performance.now() - begun < 1000);
      await bear.resume("mail");
      for (let left = 300; left > 0; ) {
        const claims = await bear.claim("mail", { count: 100, jobs: ["SEND"], block: 1000 });
        await bear.ackAll("mail", claims);
        left -= claims.length;
      }
      const done = performance.now();
      assert.ok((await waiting).every((job) => job?.state === "completed"));
      assert.ok(performance.now() - done < 1500, "the last wait ends soon after its job");
      await close();
    });

    it("a wait that is over says so, and the job stays", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const id = await bear.enqueue("mail", "SEND", { to: "w", subject: "x" }, { delay: 60_000 });
      await assert.rejects(bear.wait("mail", id, { timeout: 50 }), { code: "TIMEOUT" });
      assert.equal((await bear.job("mail", id))?.state, "delayed");
      const stop = new AbortController();
      const waiting = bear.wait("mail", id, { signal: stop.signal });
      stop.abort(new Error("enough"));
      await assert.rejects(waiting, /enough/);
      await bear.remove("mail", id);
      await close();
    });

    it("a lock is held for as long as the work takes, and given back", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const result = await bear.withLock("mail", "work", { ms: 600 }, async ({ token, signal }) => {
        const begun = performance.now();
        await eventually("twice its time is over", () => performance.now() - begun > 1200);
        assert.equal(signal.aborted, false);
        await assert.rejects(bear.withLock("mail", "work", { ms: 150 }, () => "never"), LockNotHad);
        return token;
      });
      assert.ok(result > 0);
      assert.equal(await bear.withLock("mail", "work", { ms: 150 }, () => "again"), "again");
      await close();
    });

    it("who loses a lock is told", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const reason = await bear.withLock("mail", "lost", { ms: 300 }, async ({ signal }) => {
        await server.send("DEL mail:@lock:lost");
        await eventually("it is told", () => signal.aborted);
        return signal.reason as unknown;
      });
      assert.ok(reason instanceof LockNotHad);
      await close();
    });
  });
}

describe("waits where a space has events", () => {
  it("end with the job, also those that have no connection to block on", async (test) => {
    const own = await shop({ settings: ["--bear.feed", "off", "--bear.events", "all"] });
    const { bear, close } = await bearOf(ONE, own.url, { waits: 1 });
    const times: number[] = [];
    const blocker = bear.wait("mail", await bear.enqueue("mail", "SEND", { to: "b", subject: "blocks" }, { delay: 60_000 }), { timeout: 60_000 });
    blocker.catch(() => {});
    for (let round = 0; round < 20; round++) {
      const id = await bear.enqueue("mail", "SEND", { to: "w", subject: `${round}` });
      const waiting = bear.wait("mail", id).then(() => performance.now());
      await new Promise((resolve) => setTimeout(resolve, 350)); // by now it asks each quarter of a second
      const [claim] = await bear.claim("mail", { jobs: ["SEND"] });
      await bear.ack(claim as never);
      const done = performance.now();
      times.push((await waiting) - done);
    }
    test.diagnostic(`a wait ends ${percentile(times, 0.5).toFixed(2)} ms after its job's ACK was answered (median of 20)`);
    assert.ok(percentile(times, 0.5) < 50, `${times}`);
    await close();
  });
});

describe("a wait over a restart of Redis", () => {
  it("goes on", async () => {
    const own = await shop();
    const { bear, close } = await bearOf(ONE, own.url);
    const id = await bear.enqueue("product", "SET_PRICE", { id: 1, price: 3 }, { delay: 1500 });
    const waiting = bear.wait("product", id);
    await own.stop("KILL");
    await own.startAgain();
    assert.equal((await waiting)?.state, "completed");
    await close();
  });
});
