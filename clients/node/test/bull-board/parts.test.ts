// Parts of the adapter that need no server, and its class below that of the oldest Bull Board 9.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { BearError, type Job } from "bear";
import { BoardJob } from "../../dist/esm/bull-board/job.js";
import { Minutes } from "../../dist/esm/bull-board/minutes.js";
import { Refusal, toRefusal } from "../../dist/esm/bull-board/refusal.js";
import { sectionOf, toSection } from "../../dist/esm/bull-board/section.js";
import { newFolder } from "../support/processes.js";

const require = createRequire(import.meta.url);

describe("minutes", () => {
  const minute = (n: number) => n * 60_000;
  const all = (minutes: Minutes, now: number) => {
    const { meta, data } = minutes.metrics(now);
    return [meta.count - meta.prevCount, ...data];
  };

  it("lays what a counter grew by into the minute in which it was read", () => {
    const minutes = new Minutes();
    minutes.read(1000, minute(10)); // what was before is not counted
    minutes.read(1003, minute(10) + 5000);
    minutes.read(1005, minute(10) + 59_000);
    minutes.read(1006, minute(11) + 1000); // half of these two seconds are of each, and one job is of one of them
    assert.equal(minutes.metrics(minute(11) + 1000).meta.count, 6);
    minutes.read(1010, minute(11) + 30_000);
    const [live, ...before] = all(minutes, minute(11) + 30_000);
    assert.equal((live as number) + (before[0] as number), 10);
    assert.ok((live as number) >= 4 && (before[0] as number) >= 5);
  });

  it("lays it evenly over a time without looks, and loses nothing", () => {
    const minutes = new Minutes();
    minutes.read(0, minute(10));
    minutes.read(100, minute(20));
    assert.deepEqual(all(minutes, minute(20)), [0, ...Array.from({ length: 10 }, () => 10)]);
    minutes.read(107, minute(23) + 30_000);
    assert.deepEqual(all(minutes, minute(23) + 30_000).slice(0, 4), [1, 2, 2, 2]);
    assert.equal(minutes.metrics(minute(23) + 30_000).meta.count, 107);
  });

  it("begins anew where a counter is smaller: the queue was flushed", () => {
    const minutes = new Minutes();
    minutes.read(50, minute(1));
    minutes.read(3, minute(1) + 1000);
    minutes.read(5, minute(1) + 2000);
    assert.deepEqual(all(minutes, minute(1) + 2000), [2]);
  });

  it("tells none as none, times of records in their minutes, and pages", () => {
    const minutes = new Minutes();
    assert.deepEqual(minutes.metrics(minute(5)), { meta: { count: 0, prevTS: 0, prevCount: 0 }, data: [], count: 0 });
    for (const at of [minute(1), minute(1) + 59_999, minute(3), minute(5)]) minutes.add(at);
    assert.deepEqual(all(minutes, minute(5)), [1, 0, 1, 0, 2]);
    assert.deepEqual(minutes.metrics(minute(5), 1, 2).data, [1, 0]);
    assert.deepEqual(minutes.metrics(minute(5), 0, -2).data, [0, 1, 0]);
  });

  it("keeps a week", () => {
    const minutes = new Minutes();
    minutes.add(minute(1));
    minutes.read(0, minute(2));
    minutes.read(1, minute(1 + 7 * 24 * 60 + 1));
    assert.ok(minutes.metrics(minute(1 + 7 * 24 * 60 + 1)).data.length <= 7 * 24 * 60);
  });
});

describe("schema", () => {
  it("of a section is that of its jobs, maps or pairs in turn", () => {
    for (const data of [{ id: "int", names: "text[]", note: "json?", at: "timestamptz?" }, new Map([["id", "int"], ["names", "text[]"], ["note", "json?"], ["at", "timestamptz?"]]), ["id", "int", "names", "text[]", "note", "json?", "at", "timestamptz?"]]) {
      const { schema, sql, claimed, isOpen } = toSection({ jobs: [{ job: "A", data, claim: null }], open: null });
      assert.deepEqual([[...sql], [...claimed], isOpen], [["A"], [], false]);
      assert.deepEqual(schema, {
        $schema: "http://json-schema.org/draft-07/schema#",
        title: "A",
        type: "object",
        additionalProperties: false,
        required: ["id", "names"],
        properties: {
          id: { title: "id int", type: "integer" },
          names: { title: "names text[]", type: "array", items: { type: "string" } },
          note: { title: "note json?" },
          at: { title: "at timestamptz?", anyOf: [{ type: "string", format: "date-time" }, { type: "null" }] },
        },
      });
    }
  });

  it("of several jobs is any of them; of none there is none", () => {
    const jobs = [{ job: "A", data: {}, claim: null }, { job: "B", data: {}, claim: { attempts: 3 } }];
    const { schema, sql, claimed } = toSection({ jobs, open: null });
    assert.deepEqual((schema?.["anyOf"] as { title: string }[]).map(({ title }) => title), ["A", "B"]);
    assert.deepEqual([[...sql], [...claimed]], [["A"], ["B"]]);
    assert.equal(toSection({ jobs: [], open: null }).schema, undefined);
  });

  it("a tenant's space is of its section", () => {
    assert.deepEqual(["mail", "{5}:mail", "{a}:b}:mail"].map(sectionOf), ["mail", "mail", "mail"]);
  });
});

describe("a job", () => {
  const job = (more: Partial<Job>): Job => ({
    id: "1700000000000-0", job: "A", state: "waiting", data: { x: 1 }, attempts: 0, enqueued: 1700000000000, due: null, finished: null, error: null, result: null, rows: null,
    worker: null, token: null, started: null, leaseEnds: null, maxAttempts: null, backoff: null, unique: null, progress: null, priority: null, stack: null, log: null,
    errors: null, cancelled: null, ...more,
  });
  const json = (more: Partial<Job>) => new BoardJob(job(more), "q", undefined as never).toJSON();

  it("that has settled is shown with a start, for the board counts from 1970 without one", () => {
    assert.equal(json({}).processedOn, undefined);
    assert.equal(json({ state: "completed", finished: 1700000000500 }).processedOn, 1700000000000);
    assert.equal(json({ state: "completed", finished: 1700000000500, started: 1700000000400 }).processedOn, 1700000000400);
  });

  it("that completed in the end is not shown as failed, and keeps its attempts", () => {
    const errors = [{ attempt: 1, message: "busy", stack: null, worker: "w", at: 1700000000100 }];
    const done = json({ state: "completed", finished: 1700000000500, error: { message: "busy", sqlstate: null }, errors });
    assert.deepEqual([done.failedReason, done.stacktrace, done.opts], ["", [], { bear: { failedAttempts: errors } }]);
    assert.deepEqual(json({ state: "delayed", due: 1700000005000, errors, error: { message: "busy", sqlstate: null } }).stacktrace, ["attempt 1 (w, 2023-11-14T22:13:20.100Z): busy"]);
  });

  it("shows what the board can: a SQLSTATE, progress of any kind, data that was left out", () => {
    assert.equal(json({ state: "failed", error: { message: "no", sqlstate: "23505" } }).failedReason, "no (SQLSTATE 23505)");
    assert.deepEqual([undefined, null, 40, "half", { at: 1 }, [1, 2]].map((progress) => json({ progress }).progress), [0, 0, 40, "half", { at: 1 }, "[1,2]"]);
    assert.deepEqual([json({ data: undefined }).data, json({ data: undefined }).opts], [null, { bear: { data: "left out of the record" } }]);
    assert.equal(json({ enqueued: null }).timestamp, 1700000000000);
  });
});

it("a refusal has a status that the board answers, and the server's words", () => {
  const status = (error: unknown) => [(toRefusal(error) as Refusal).statusCode, (toRefusal(error) as Error).message];
  assert.deepEqual(status(new BearError("ERR", "no such section")), [400, "no such section"]);
  assert.deepEqual(status(new BearError("NOPERM", "not yours")), [403, "NOPERM not yours"]);
  assert.deepEqual(status(new BearError("FULL", "the queue holds 5")), [409, "FULL the queue holds 5"]);
  const mistake = new TypeError("a mistake of the program");
  assert.equal(toRefusal(mistake), mistake);
});

it("has every member that each Bull Board 9 asks for, below the base class of the oldest, too", () => {
  const folder = newFolder("board");
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "@bull-board"), { recursive: true });
  symlinkSync(dirname(require.resolve("bull-board90/dist/index.js")).replace(/\/dist$/, ""), join(modules, "@bull-board/api"));
  const here = dirname(require.resolve("bear/package.json"));
  for (const each of ["package.json", "dist"]) cpSync(join(here, each), join(modules, "bear", each), { recursive: true });
  const there = createRequire(join(folder, "app.js"));
  const { BearAdapter } = there("bear/bull-board") as typeof import("bear/bull-board");
  const { BaseAdapter } = require("bull-board90/dist/queueAdapters/base.js") as { BaseAdapter: new () => object };
  const adapter = new BearAdapter({ send: () => Promise.reject(new Error("away")) } as never, "mail", { prefix: "p.", description: "d" });
  assert.ok(adapter instanceof BaseAdapter);
  assert.deepEqual([adapter.getName(), adapter.getDescription(), adapter.allowCompletedRetries, adapter.supportsJobSchedulerUpdate], ["p.mail", "d", false, true]);
  adapter.close();
  // What BullMQ's own adapter has of Bull Board's members, this has, too.
  for (const api of ["@bull-board/api", "bull-board90"]) {
    const { BullMQAdapter } = require(`${api}/bullMQAdapter`) as { BullMQAdapter: { prototype: object } };
    const own = ["constructor", "resolveRedisClient", "hasPausedState", "getSchedulerRuns", "findLastRunId", "schedulerRunId", "getQueuePrefix", "getQueueKey"];
    const asked = Object.getOwnPropertyNames(BullMQAdapter.prototype).filter((name) => !own.includes(name));
    assert.deepEqual(asked.filter((name) => !(name in adapter)), [], api);
  }
});
