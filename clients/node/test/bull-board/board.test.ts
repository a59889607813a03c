// The adapter behind Bull Board's own handlers, asked over HTTP as its page asks.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, it } from "node:test";
import { Worker, type Bear, type Job } from "bear";
import { BearAdapter } from "bear/bull-board";
import { Board } from "../support/board.js";
import { KINDS } from "../support/clients.js";
import { eventually } from "../support/processes.js";
import { atEnd, bearOf, ONE, shop, TWO } from "../support/shop.js";
import type { BearServer } from "../support/server.js";

let server: BearServer;
let bear: Bear;
let board: Board;
const troubles: unknown[] = [];

const adapters = (of: Bear) =>
  ["product", "mail", "{anna}:note", "doomed"].map((space) => {
    const adapter = new BearAdapter(of, space, { onError: (error) => troubles.push(error), ...(space === "product" ? { description: "prices", prefix: "shop." } : {}) });
    atEnd(() => adapter.close());
    return adapter;
  });

before(async () => {
  server = await shop({ catalog: "clients/node/test/catalogs/board.toml" });
  ({ bear } = await bearOf(ONE, server.url));
  board = await Board.start(adapters(bear));
});

const put = async (path: string, body?: unknown) => {
  const answer = await board.send("PUT", `queues/${path}`, body);
  assert.ok(answer.status < 300, `${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
};
const sum = ({ data, meta }: { data: number[]; meta: { count: number; prevCount: number } }) => data.reduce((all, each) => all + each, 0) + meta.count - meta.prevCount;
const settled = (space: string, id: string): Promise<Job> => bear.wait(space, id, { timeout: 15_000 }).then((job) => job as Job);
const one = async (name: string, id: string) => (await board.send("GET", `queues/${encodeURIComponent(name)}/${id}`)).body;

/** From when a job was taken to when it is due: two looks at the clock. */
const isDelay = (shown: number, asked: number): boolean => Math.abs(shown - asked) <= 50;

it("shows jobs for Postgres: counts, pages from the newest on, result, error", async () => {
  const ids: string[] = [];
  for (let price = 1; price <= 25; price++) ids.push(await bear.enqueue("product", "SET_PRICE", { id: 1, price }));
  const bad = await bear.enqueue("product", "SET_PRICE", { id: 2, price: -1 }, { attempts: 1 });
  for (const id of [...ids, bad]) await settled("product", id);
  const delayed = await bear.enqueue("product", "SET_PRICE", { id: 2, price: 7 }, { delay: 3_600_000 });
  const { completed } = (await board.send("GET", "queues/shop.product/metrics")).body; // from now on it counts
  assert.equal(completed.meta.count, 25);
  const all = await board.queue("shop.product");
  assert.deepEqual([all.counts.completed, all.counts.failed, all.counts.delayed, all.counts.waiting, all.counts.active], [25, 1, 1, 0, 0]);
  assert.deepEqual([all.description, all.isPaused, all.globalConcurrency, all.supportsGlobalRateLimit, all.hasWorkers], ["prices", false, null, false, true]);
  assert.equal(all.jobs.length, 12); // ten of each state at most, by time
  const pages: any[] = [];
  for (const page of ["1", "2", "3"]) pages.push(await board.queue("shop.product", { status: "completed", page, jobsPerPage: "10" }));
  assert.deepEqual(pages.map(({ pagination }) => pagination.pageCount), [3, 3, 3]);
  assert.deepEqual(pages.flatMap(({ jobs }) => jobs.map((job: { data: { price: string } }) => Number(job.data.price))), Array.from({ length: 25 }, (_, at) => 25 - at));
  const done = await one("shop.product", ids[2] as string);
  assert.equal(done.status, "completed");
  assert.deepEqual([done.job.name, done.job.returnValue, done.job.attempts, done.job.isFailed, done.job.progress], ["SET_PRICE", 6, 1, false, 0]);
  assert.ok(done.job.finishedOn >= done.job.timestamp);
  const failed = await one("shop.product", bad);
  assert.deepEqual([failed.status, failed.job.failedReason, failed.job.isFailed], ["failed", "a price is not below 0", true]);
  const { delay, ...rest } = (await one("shop.product", delayed)).job.opts;
  assert.deepEqual(rest, { attempts: 2, backoff: 2000 });
  assert.ok(isDelay(delay, 3_600_000), `${delay} ms`);
  assert.deepEqual((await board.send("GET", `queues/shop.product/${bad}/logs`)).body, []);
  assert.deepEqual((await board.send("GET", `queues/shop.product/${bad}/flow`)).body, { nodeId: bad, flowRoot: null, isFlowNode: false });
  assert.equal((await board.send("GET", "queues/shop.product/no-such-job")).status, 404);
  assert.equal((await board.send("GET", "queues/shop.product/1-1")).status, 404);
});

it("does to jobs for Postgres what can be done to them, and says of the rest why not", async () => {
  const [failed] = (await board.queue("shop.product", { status: "failed" })).jobs;
  assert.match((await board.send("PATCH", `queues/shop.product/${failed.id}/update-data`, { jobData: {} })).body.message, /have the payload with which they were enqueued/);
  await put(`shop.product/${failed.id}/retry`);
  const again = await eventually("it has failed again", async () => (await board.queue("shop.product", { status: "failed" })).jobs[0]);
  assert.notEqual(again.id, failed.id);
  await put(`shop.product/${again.id}/clean`);
  assert.equal((await board.queue("shop.product")).counts.failed, 0);
  const [delayed] = (await board.queue("shop.product", { status: "delayed" })).jobs;
  await put(`shop.product/${delayed.id}/promote`);
  await settled("product", delayed.id);
  assert.match((await board.send("PUT", `queues/shop.product/${delayed.id}/clean`)).body.message, /not removed one by one/);
  assert.equal((await board.send("PUT", `queues/shop.product/${delayed.id}/retry`)).status, 400);
  assert.match((await board.send("PUT", "queues/shop.product/concurrency", { concurrency: 3 })).body.message, /no jobs that workers claim/);
  assert.match((await board.send("PUT", "queues/shop.product/rate-limit", { max: 3, duration: 1000 })).body.error.key, /RATE_LIMIT_NOT_SUPPORTED/);
  const [worker] = (await board.send("GET", "queues/shop.product/workers")).body.workers;
  assert.equal(worker.name, "bear's appliers");
  // Added by the board, checked by the server
  assert.match((await board.send("POST", "queues/shop.product/add", { name: "SET_PRICE", data: { id: 3 } })).body.message, /field 'price' is missing/);
  assert.match((await board.send("POST", "queues/shop.product/add", { name: "__default__", data: {} })).body.message, /which job\? product has BREAK, RENAME, SET_PRICE/);
  assert.match((await board.send("POST", "queues/shop.product/add", { name: "RENAME", data: { id: 3 }, options: { lifo: true } })).body.message, /have no lifo/);
  const added = await board.send("POST", "queues/shop.product/add", { name: "RENAME", data: { id: 3, name: "sofa" }, options: { delay: 60_000, attempts: 5, backoff: { type: "fixed", delay: 100 } } });
  const { delay, ...options } = added.body.job.opts;
  assert.deepEqual([added.status, added.body.status, options], [200, "delayed", { attempts: 5, backoff: 100 }]);
  assert.ok(isDelay(delay, 60_000), `${delay} ms`);
  await put("shop.product/promote");
  await settled("product", added.body.job.id);
  // Paused, jobs wait; empty takes them, and clean the rest
  await put("shop.product/pause");
  for (let id = 1; id <= 3; id++) await bear.enqueue("product", "RENAME", { id });
  const paused = await board.queue("shop.product");
  assert.deepEqual([paused.isPaused, paused.counts.waiting], [true, 3]);
  await put("shop.product/empty");
  assert.equal((await board.queue("shop.product")).counts.waiting, 0);
  await put("shop.product/resume");
  assert.equal((await board.queue("shop.product")).isPaused, false);
  await bear.clean("product", "completed");
  assert.equal((await board.queue("shop.product")).counts.completed, 0);
});

it("retries all that failed, and those that fit where some do not fit any more", async () => {
  const ids: string[] = [];
  for (let n = 0; n < 130; n++) ids.push(await bear.enqueue("product", "SET_PRICE", { id: 1 + (n % 3), price: -1 - n }, { attempts: 1, ...(n === 0 ? { unique: "first" } : {}) }));
  for (const id of ids) await settled("product", id);
  // Each is counted once, however often it is asked, and by how many at once (a look asks twice).
  const failures = async () => sum((await board.send("GET", "queues/shop.product/metrics")).body.failed);
  const known = await failures();
  assert.ok(known >= 130);
  assert.deepEqual(await Promise.all([failures(), failures()]), [known, known]);
  await bear.pause("product");
  assert.deepEqual(await put("shop.product/retry/failed"), { retried: 130, skipped: 0 });
  assert.equal((await board.queue("shop.product")).counts.waiting, 130);
  await bear.resume("product");
  await eventually("they have failed again", async () => (await board.queue("shop.product")).counts.failed === 130);
  assert.equal(await failures(), known + 130);
  // Of one kind of jobs the payload is another now. These are refused, and hold up none of the others.
  await settled("product", await bear.enqueue("product", "BREAK", { id: 1, why: "x" }, { attempts: 1 }));
  await bear.pause("product");
  const file = join(server.folder, "catalog.toml");
  const catalog = readFileSync(file, "utf8");
  writeFileSync(file, catalog.replace('id = "int", why = "text"', 'id = "int"'));
  await bear.reload();
  const partly = await board.send("PUT", "queues/shop.product/retry/failed");
  assert.deepEqual([partly.status, partly.body.message.split(":")[0].replace(/as .*/, "as")], [409, "130 jobs were enqueued again; 1 stay failed, as"]);
  assert.match(partly.body.message, /why/);
  const { counts } = await board.queue("shop.product");
  assert.deepEqual([counts.waiting, counts.failed], [130, 1]);
  writeFileSync(file, catalog);
  await bear.reload();
  await bear.clean("product", "waiting");
  await bear.resume("product");
  await settled("product", await bear.enqueue("product", "RENAME", { id: 1 }));
  assert.match((await board.send("PUT", "queues/shop.product/retry/completed")).body.message, /only failed jobs are retried/);
  await bear.clean("product", "failed");
});

it("shows claimed jobs: attempts, stacks, progress, logs, workers; and does all that can be done to them", async () => {
  const worker = new Worker(bear, "mail", async (job) => {
    if ((job.data as { to: string }).to === "nobody") throw new Error("no such address");
    await job.log("connected");
    await job.progress({ percent: 50 });
    return { sent: (job.data as { to: string }).to };
  }, { name: "mailer", concurrency: 1 });
  atEnd(() => worker.close());
  const good = await bear.enqueue("mail", "SEND", { to: "ann", subject: "hello" }, { priority: 9, unique: "ann" });
  const bad = await bear.enqueue("mail", "SEND", { to: "nobody", subject: "hello" });
  for (const id of [good, bad]) await settled("mail", id);
  const queue = await board.queue("mail");
  assert.deepEqual([queue.counts.completed, queue.counts.failed, queue.hasWorkers, queue.jobSchedulerCount], [1, 1, true, 1]);
  const done = await one("mail", good);
  assert.deepEqual([done.job.returnValue, done.job.progress, done.job.processedBy, done.job.isFailed], [{ sent: "ann" }, { percent: 50 }, "mailer", false]);
  assert.ok(done.job.processedOn >= done.job.timestamp && done.job.finishedOn >= done.job.processedOn);
  assert.deepEqual((await board.send("GET", `queues/mail/${good}/logs`)).body, ["connected"]);
  const failed = await one("mail", bad);
  assert.deepEqual([failed.status, failed.job.failedReason, failed.job.attempts, failed.job.stacktrace.length], ["failed", "no such address", 2, 2]);
  assert.match(failed.job.stacktrace[0], /^attempt 2 \(mailer, .*\): Error: no such address\n +at /); // the last one first
  assert.match((await board.send("PATCH", `queues/mail/${bad}/update-data`, { jobData: { to: "bob", subject: "x" } })).body.message, /duplicate it/);
  const [seen] = (await board.send("GET", "queues/mail/workers")).body.workers;
  assert.deepEqual([seen.name, /^127\.0\.0\.1:/.test(seen.addr)], ["mailer", true]);
  await worker.close();

  await put(`mail/${bad}/retry`);
  const [waiting] = (await board.queue("mail", { status: "waiting" })).jobs;
  assert.equal((await board.send("PATCH", `queues/mail/${waiting.id}/update-data`, { jobData: { to: "bob", subject: "again" } })).status, 200);
  assert.deepEqual((await one("mail", waiting.id)).job.data, { subject: "again", to: "bob" });
  for (const path of ["delay", "priority"]) {
    const { body } = await board.send("PATCH", `queues/mail/${waiting.id}/${path}`, { runAt: Date.now(), priority: 1 });
    assert.equal(body.error.key, "ERRORS.JOB_EDIT_NOT_SUPPORTED");
  }
  await put("mail/concurrency", { concurrency: 4 });
  assert.equal((await board.queue("mail")).globalConcurrency, 4);
  await put("mail/concurrency", { concurrency: 0 });
  await put("mail/rate-limit", { max: 80, duration: 60_000 });
  assert.deepEqual((await board.send("GET", "queues/mail/rate-limit")).body, { supported: true, rateLimit: { max: 80, duration: 60_000 } });
  assert.equal((await bear.stats("mail")).limits.rate, "80/m");
  assert.match((await board.send("PUT", "queues/mail/rate-limit", { max: 80, duration: 5000 })).body.message, /by second, minute, hour or day/);
  await put("mail/rate-limit", { max: null });
  assert.equal((await bear.stats("mail")).limits.rate, null);

  const [claim] = await bear.claim("mail", { worker: "by hand" });
  assert.ok(claim);
  assert.equal((await board.queue("mail", { status: "active" })).jobs[0].processedBy, "by hand");
  assert.equal((await board.send("PUT", `queues/mail/${claim.id}/clean`)).body.error.key, "ERRORS.JOB_IS_ACTIVE");
  assert.match((await board.send("PUT", "queues/mail/clean/active")).body.message, /active jobs are not removed/);
  await put("mail/pause");
  assert.equal((await board.send("PUT", "queues/mail/obliterate", {})).body.error.key, "ERRORS.QUEUE_HAS_ACTIVE_JOBS");
  await bear.ack(claim, "done");
  await put(`mail/${claim.id}/clean`);
  await put("mail/obliterate", {});
  assert.deepEqual(Object.values((await board.queue("mail")).counts as Record<string, number>).filter((count) => count > 0), []);
  await put("mail/resume");
});

it("lists schedules; edits, runs and removes those that commands made", async () => {
  await bear.schedule("mail", "ping", { every: 3_600_000, limit: 5, job: "SEND", data: { to: "ops", subject: "ping" }, priority: 9 });
  const { schedulers } = (await board.send("GET", "job-schedulers")).body;
  assert.deepEqual(schedulers.map(({ id, queueName, name, pattern, tz, every, limit }: any) => [id, queueName, name, pattern, tz, every, limit]), [
    ["digest", "mail", "SEND", "0 9 * * mon-fri", "Europe/Berlin", undefined, undefined],
    ["ping", "mail", "SEND", undefined, undefined, 3_600_000, 5],
  ]);
  assert.ok(schedulers[0].next > Date.now());
  assert.deepEqual(schedulers[1].template, { data: { to: "ops", subject: "ping" }, opts: { source: "command", missed: "one" } });
  assert.equal((await board.send("PATCH", "queues/mail/job-schedulers/ping", { pattern: "*/5 * * * *", tz: "Asia/Tokyo" })).status, 204);
  assert.deepEqual((await bear.schedules("mail")).map(({ name, cron, zone, limit }) => [name, cron, zone, limit]), [["digest", "0 9 * * mon-fri", "Europe/Berlin", null], ["ping", "*/5 * * * *", "Asia/Tokyo", null]]);
  assert.match(await server.send("HGET mail:queue:schedules ping"), /"priority":9/); // what the page does not show stays
  assert.equal((await board.send("PATCH", "queues/mail/job-schedulers/ping", { pattern: "0 0 30 2 *" })).body.error.key, "ERRORS.INVALID_SCHEDULER_PATTERN");
  assert.match((await board.send("PATCH", "queues/mail/job-schedulers/ping", { every: 50 })).body.message, /100/); // the server's words
  await bear.schedule("product", "warm", { every: 60_000, query: ["named", "a lamp: red"] });
  assert.equal((await board.send("PATCH", "queues/shop.product/job-schedulers/warm", { every: 120_000 })).status, 204);
  assert.match(await server.send("HGET product:queue:schedules warm"), /"every":120000.*"query":\["named","a lamp: red"\]/);
  assert.match((await board.send("PUT", "queues/shop.product/job-schedulers/warm/run")).body.message, /fetches a query/);
  await put("shop.product/job-schedulers/warm/remove");
  const run = await put("mail/job-schedulers/ping/run");
  assert.deepEqual([run.job.name, run.job.data, run.job.priority], ["SEND", { subject: "ping", to: "ops" }, 9]);
  await put(`mail/${run.job.id}/clean`);
  assert.match((await board.send("PUT", "queues/mail/job-schedulers/digest/remove")).body.message, /catalog/);
  assert.match((await board.send("PATCH", "queues/mail/job-schedulers/digest", { every: 60_000 })).body.message, /of the catalog/);
  await put("mail/job-schedulers/ping/remove");
  assert.equal((await board.send("PUT", "queues/mail/job-schedulers/ping/remove")).status, 404);
});

it("counts what settled by the minute", async () => {
  const { completed } = (await board.send("GET", "queues/shop.product/metrics")).body;
  assert.equal(sum(completed), (await bear.stats("product")).completed);
  // Another process that looks only now: the records tell it.
  await bear.clean("product", "completed");
  const later = new BearAdapter(bear, "product");
  atEnd(() => later.close());
  for (const id of [1, 2]) await settled("product", await bear.enqueue("product", "RENAME", { id }));
  const told = await later.getMetrics("completed");
  assert.equal(sum(told), 2);
  await settled("product", await bear.enqueue("product", "RENAME", { id: 3 }));
  const more = await later.getMetrics("completed");
  assert.equal(sum(more), 3);
  await settled("product", await bear.enqueue("product", "SET_PRICE", { id: 1, price: -1 }, { attempts: 1 }));
  const wrong = await later.getMetrics("failed");
  assert.equal(sum(wrong), 1);
});

it("counts up to 1,000 completed jobs for Postgres, and pages through them", async () => {
  const ids = await Promise.all(Array.from({ length: 1005 }, (_, n) => bear.enqueue("product", "RENAME", { id: 1 + n })));
  for (const id of ids.slice(-5)) await settled("product", id);
  await eventually("all are done", async () => (await bear.stats("product")).waiting === 0);
  const last = await board.queue("shop.product", { status: "completed", page: "100" });
  assert.deepEqual([last.counts.completed, last.pagination.pageCount, last.jobs.length], [1000, 100, 10]);
  await bear.clean("product", "completed", { count: 900 }); // and a few more, which share an entry with the last
  const left = (await bear.jobs("product", "completed", { count: 1000 })).length;
  assert.ok(left > 0 && left <= 115, String(left));
  assert.equal((await board.queue("shop.product")).counts.completed, left);
  await settled("product", await bear.enqueue("product", "RENAME", { id: 1 }));
  assert.equal((await board.queue("shop.product")).counts.completed, left + 1);
});

it("gives the payloads' JSON schema", async () => {
  const { body } = await board.send("GET", "queues/shop.product/job-data-schema");
  assert.deepEqual(body.anyOf.map(({ title, required }: any) => [title, required]), [["BREAK", ["id", "why"]], ["RENAME", ["id"]], ["SET_PRICE", ["id", "price"]]]);
  const mail = (await board.send("GET", "queues/mail/job-data-schema")).body;
  assert.deepEqual([mail.title, mail.additionalProperties, Object.keys(mail.properties).sort()], ["SEND", false, ["subject", "to"]]);
});

it("shows a section with both kinds of jobs as one queue, each job as what it is", async () => {
  const adapter = new BearAdapter(bear, "both");
  const open = new BearAdapter(bear, "any");
  for (const each of [adapter, open]) atEnd(() => each.close());
  const mixed = await Board.start([adapter, open]);
  for (let x = 1; x <= 3; x++) await settled("both", await bear.enqueue("both", "WRITE", { x }));
  await settled("both", await bear.enqueue("both", "WRITE", { x: -1 }, { attempts: 1 }));
  for (let x = 1; x <= 2; x++) await bear.enqueue("both", "CALL", { x, note: { deep: [x] } });
  for (const claim of await bear.claim("both", { count: 2 })) await (claim.data as { x: number }).x === 1 ? bear.ack(claim, { ok: true }) : bear.fail(claim, "busy", { final: true });
  await eventually("both have settled", async () => (await bear.stats("both")).failed === 2);
  const { counts, hasWorkers, supportsGlobalRateLimit } = await mixed.queue("both");
  assert.deepEqual([counts.completed, counts.failed, hasWorkers, supportsGlobalRateLimit], [4, 2, true, true]);
  const done = (await mixed.queue("both", { status: "completed" })).jobs;
  assert.deepEqual(done.map((job: any) => [job.name, job.returnValue]), [["CALL", { ok: true }], ...Array.from({ length: 3 }, () => ["WRITE", null])]);
  for (const { id, name } of done.slice(0, 2)) {
    const { status, body } = await mixed.send("PUT", `queues/both/${id}/clean`);
    assert.deepEqual([status, /not removed one by one/.test(body?.message)], name === "CALL" ? [204, false] : [409, true]);
  }
  const { failed } = (await mixed.send("GET", "queues/both/metrics")).body;
  assert.equal(sum(failed), 2);
  assert.deepEqual((await mixed.send("PUT", "queues/both/retry/failed")).body, { retried: 2, skipped: 0 });
  await eventually("the one for Postgres has failed again", async () => (await bear.stats("both")).failed === 1);
  // Duplicate sends what the page was given as options.
  const [waiting] = (await mixed.queue("both", { status: "waiting" })).jobs;
  assert.deepEqual([waiting.name, waiting.opts], ["CALL", { attempts: 2, backoff: [10, 1000], priority: 5 }]);
  const copy = await mixed.send("POST", "queues/both/add", { name: waiting.name, data: waiting.data, options: waiting.opts });
  assert.deepEqual([copy.status, copy.body.job.opts, copy.body.job.data], [200, waiting.opts, waiting.data]);
  // An open section takes any name.
  assert.equal((await mixed.send("POST", "queues/any/add", { name: "whatever", data: [1, "two"] })).body.job.name, "whatever");
  assert.match((await mixed.send("POST", "queues/any/add", { data: {} })).body.message, /which job\? Give its name/);
});

it("does not resume a queue whose ledger is lost, and says so", async () => {
  await settled("both", await bear.enqueue("both", "WRITE", { x: 1 }));
  const adapter = new BearAdapter(bear, "both");
  atEnd(() => adapter.close());
  const watched = await Board.start([adapter]);
  await server.sql("DELETE FROM bear.ledger");
  await bear.enqueue("both", "WRITE", { x: 2 });
  await eventually("the ledger is missed", async () => (await bear.stats("both")).ledger.startsWith("LEDGER"));
  assert.match((await watched.queue("both")).description, /^LEDGER /);
  assert.equal((await watched.send("PUT", "queues/both/resume")).status, 200);
  const { description } = await watched.queue("both");
  assert.match(description, /LEDGER .*not resumed: the ledger is lost/);
  assert.equal((await bear.stats("both")).waiting > 0, true);
  await bear.resume("both");
  await eventually("it goes on", async () => !/LEDGER/.test((await watched.queue("both")).description ?? ""));
});

it("shows a queue to a role that may not read the catalog, without its schema", async () => {
  await server.send("ACL SETUSER viewer on >secret ~* &* +@connection +info +bear.stats +bear.jobs +bear.job +bear.logs +bear.schedules");
  const { bear: viewer } = await bearOf(ONE, server.url.replace("//", "//viewer:secret@"));
  const adapter = new BearAdapter(viewer, "product");
  atEnd(() => adapter.close());
  const seen = await Board.start([adapter]);
  const { counts, description, isPaused } = await seen.queue("product");
  assert.deepEqual([counts.completed > 0, description, isPaused], [true, undefined, false]);
  assert.deepEqual((await seen.send("GET", "queues/product/job-data-schema")).body, {});
  const refused = await seen.send("PUT", "queues/product/clean/completed");
  assert.deepEqual([refused.status, /NOPERM/.test(refused.body.message)], [403, true]);
  assert.equal((await seen.send("PUT", "queues/product/pause")).status, 200); // as of all queues
  assert.match((await seen.queue("product")).name, /product/);
});

it("is the same over every client and protocol", async () => {
  await bear.schedule("mail", "hourly", { every: 3_600_000, job: "SEND", data: { to: "ops", subject: "hourly" } });
  const id = await bear.enqueue("mail", "SEND", { to: "ann", subject: "same" });
  const [claim] = await bear.claim("mail", { worker: "one" });
  await bear.log(claim as never, "tried");
  await bear.fail(claim as never, "no luck", { final: true, stack: "Error: no luck\n    at here" });
  await bear.enqueue("mail", "SEND", { to: "bob", subject: "later" }, { delay: 3_600_000 });
  const all: unknown[] = [];
  for (const kind of KINDS) {
    const { bear: other, close } = await bearOf(kind, server.url);
    const adapter = new BearAdapter(other, "mail");
    const jobs = await adapter.getJobs(["failed", "delayed", "completed"]);
    const [worker] = (await adapter.getWorkers()) ?? [];
    all.push({
      counts: await adapter.getJobCounts(), jobs: jobs.map((job) => job.toJSON()), schedules: await adapter.getJobSchedulers(), logs: await adapter.getJobLogs(id),
      schema: adapter.getJobDataSchema(), limit: await adapter.getGlobalConcurrency(), worker: worker?.name, info: /redis_version/.test((await adapter.getRedisInfo()) ?? ""),
    });
    adapter.close();
    await close();
  }
  for (const [at, each] of all.entries()) assert.deepEqual(each, all[0], KINDS[at]?.name);
  assert.equal((all[0] as { jobs: unknown[] }).jobs.length, 2);
});

it("serves a tenant's space", async () => {
  const id = await bear.enqueue("{anna}:note", "KEEP", { text: "milk" });
  await bear.enqueue("{berta}:note", "KEEP", { text: "bread" });
  const queue = await board.queue("{anna}:note");
  assert.deepEqual([queue.counts.waiting, queue.jobs.map((job: { id: string }) => job.id)], [1, [id]]);
  await put(`${encodeURIComponent("{anna}:note")}/${id}/clean`);
  assert.equal((await board.queue("{anna}:note")).counts.waiting, 0);
});

it("a queue whose section was removed is shown empty, says why, and breaks nothing of the others", async () => {
  await bear.enqueue("doomed", "WORK", { x: 1 });
  assert.equal((await board.queue("doomed")).counts.waiting, 1);
  const file = join(server.folder, "catalog.toml");
  const catalog = readFileSync(file, "utf8");
  writeFileSync(file, catalog.replace(/\[doomed[\s\S]*$/, ""));
  await bear.reload();
  troubles.length = 0;
  const gone = await board.queue("doomed", { status: "waiting" });
  assert.deepEqual([gone.counts.waiting, gone.jobs, gone.isPaused, gone.displayName], [0, [], false, "doomed (unavailable)"]);
  assert.match(gone.description, /unavailable: no section is called 'doomed'; the catalog has any, both, mail, note, product/);
  assert.ok(troubles.length > 0);
  for (const path of ["job-schedulers", "queues/doomed/metrics", "queues/doomed/workers", "queues/doomed/rate-limit", "queues/doomed/1-1/logs", "redis/stats"]) {
    assert.equal((await board.send("GET", path)).status, 200, path);
  }
  assert.equal((await board.send("GET", "queues/doomed/1-1")).status, 404);
  await put("pause");
  assert.deepEqual(await Promise.all(["product", "mail", "{anna}:note"].map(async (space) => (await bear.stats(space)).paused)), [1, 1, 1]);
  await put("resume");
  assert.equal((await bear.stats("mail")).paused, 0);
  for (const [method, path, body] of [["PUT", "empty", undefined], ["PUT", "promote", undefined], ["PUT", "clean/failed", undefined], ["POST", "add", { name: "WORK", data: { x: 1 } }]] as const) {
    const answer = await board.send(method, `queues/doomed/${path}`, body);
    assert.deepEqual([answer.status, /no section is called 'doomed'/.test(answer.body.message)], [400, true], path);
  }
  writeFileSync(file, catalog);
  await bear.reload();
  const back = await board.queue("doomed");
  assert.deepEqual([back.counts.waiting, back.description, back.displayName], [1, undefined, undefined]);
});

for (const kind of TWO) {
  it(`${kind.name}: while Redis is away the board answers, with empty queues that say so`, async () => {
    const other = await shop({ catalog: '[mail.job.SEND]\ndata = { to = "text" }\nclaim = {}\n', schema: undefined as never });
    const { bear: away } = await bearOf(kind, other.url);
    const adapter = new BearAdapter(away, "mail", { name: "away" });
    atEnd(() => adapter.close());
    await away.enqueue("mail", "SEND", { to: "ann" });
    const mixed = await Board.start([adapter, ...adapters(bear)]);
    assert.equal((await mixed.queue("away")).counts.waiting, 1);
    await other.stop();
    const gone = await eventually("it says so", async () => {
      const queue = await mixed.queue("away");
      return queue.description !== undefined && queue;
    });
    assert.match(gone.description, /^unavailable: /);
    assert.equal(gone.counts.waiting, 0);
    assert.equal((await mixed.queue("mail")).name, "mail");
    assert.equal((await mixed.send("GET", "redis/stats")).status, 404); // the first queue's Redis, as always
    await other.startAgain();
    await eventually("it is back", async () => (await mixed.queue("away")).counts.waiting === 1);
    assert.equal((await mixed.queue("away")).description, undefined);
  });
}

it("read-only and without retries, as Bull Board's own adapters", async () => {
  const readOnly = new BearAdapter(bear, "mail", { readOnlyMode: true, name: "looked at", displayName: "Mail", delimiter: "." });
  const firm = new BearAdapter(bear, "mail", { allowRetries: false });
  for (const each of [readOnly, firm]) atEnd(() => each.close());
  const guarded = await Board.start([readOnly, firm]);
  assert.equal((await guarded.send("PUT", "queues/looked%20at/pause")).status, 405);
  const shown = await guarded.queue("looked at");
  assert.deepEqual([shown.readOnlyMode, shown.allowRetries, shown.displayName, shown.delimiter], [true, false, "Mail", "."]);
  assert.equal((await guarded.queue("mail")).allowRetries, false);
});

it("the oldest Bull Board 9 takes the adapter, too", async () => {
  const old = await Board.start(adapters(bear), { api: "bull-board90" });
  const queue = await old.queue("mail", { status: "completed" });
  assert.equal(queue.type, "bullmq");
  await bear.enqueue("mail", "SEND", { to: "ann", subject: "old" });
  const [job] = (await old.queue("mail", { status: "waiting" })).jobs;
  assert.equal((await old.send("PUT", `queues/mail/${job.id}/clean`)).status, 204);
});
