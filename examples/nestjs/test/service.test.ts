// The service through HTTP, over a Redis with bear and a Postgres that are started here.
import "reflect-metadata";
import assert from "node:assert/strict";
import { execSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { INestApplication } from "@nestjs/common";
import { Test } from "@nestjs/testing";
import { Bear } from "bear";
import { eventually } from "../../../clients/node/test/support/processes.js";
import { BearServer, postgres, root, stopPostgres } from "../../../clients/node/test/support/server.js";
import { AppModule } from "../src/app.module.js";
import type { EmailDto } from "../src/dto.js";
import { Transport } from "../src/email.js";

const catalog = readFileSync(join(root, "examples/nestjs/catalog.toml"), "utf8");

/** E-mails that are sent when the test opens the gate. */
class Gate implements Pick<Transport, "send"> {
  readonly sent: EmailDto[] = [];
  inside = 0;
  most = 0;
  private opened = Promise.resolve();
  open: () => void = () => {};

  close(): void {
    this.opened = new Promise((resolve) => (this.open = resolve));
  }

  async send(email: EmailDto): Promise<void> {
    this.most = Math.max(this.most, ++this.inside);
    await this.opened;
    this.inside--;
    this.sent.push(email);
  }
}

const gate = new Gate();
let server: BearServer;
let app: INestApplication;
let bear: Bear;
let url: string;

interface Answer {
  status: number;
  cache: string | null;
  body: any;
}

async function ask(method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<Answer> {
  const reply = await fetch(`${url}${path}`, {
    method,
    headers: { "content-type": "application/json", ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });
  const isJson = reply.headers.get("content-type")?.includes("json");
  return { status: reply.status, cache: reply.headers.get("x-cache"), body: isJson ? await reply.json() : await reply.text() };
}

const get = (path: string) => ask("GET", path);
const ids = ({ body }: Answer) => (body as { id: number }[]).map(({ id }) => id);

/** Sends what is queued, and waits until that is done; the job. */
async function done(method: string, path: string, body?: object): Promise<any> {
  const { status, body: queued } = await ask(method, path, body);
  assert.equal(status, 202, JSON.stringify(queued));
  return (await get(`/job/${path.split("/")[1]}/${queued.jobId}?wait=20000`)).body;
}

before(async () => {
  server = await BearServer.start({ catalog, schema: ["schema/bear.sql", "schema/bear-data.sql"] });
  await eventually("the change feed follows", async () => (await server.send("INFO bear_feed")).includes("bear_feed_state:following"));
  process.env["REDIS_URL"] = server.url;
  const module = await Test.createTestingModule({ imports: [AppModule] }).overrideProvider(Transport).useValue(gate).compile();
  app = module.createNestApplication({ logger: false });
  await app.listen(0, "127.0.0.1");
  url = await app.getUrl();
  bear = app.get(Bear);
});

after(async () => {
  await app?.close();
  await server?.stop();
  await stopPostgres();
});

describe("reads", () => {
  it("the first request is a miss, the second a hit", async () => {
    const first = await get("/bear/5");
    assert.deepEqual(first, { status: 200, cache: "MISS", body: { id: 5, name: "Sun 5", size: 155, colors: ["cream", "golden", "white"] } });
    assert.deepEqual(await get("/bear/5"), { ...first, cache: "HIT" });
  });

  it("by size, by color, by both", async () => {
    assert.equal((await get("/bear")).body.length, 200);
    const sized = await get("/bear?from=150&to=160");
    assert.ok(sized.body.length > 1 && sized.body.every(({ size }: { size: number }) => size >= 150 && size <= 160));
    const colored = await get("/bear/color/brown,black");
    assert.ok(colored.body.every(({ colors }: { colors: string[] }) => colors.includes("brown") || colors.includes("black")));
    assert.deepEqual(ids(await get("/bear/color/black,brown?from=150&to=160")), ids(sized).filter((id) => ids(colored).includes(id)));
    assert.equal((await get("/bear/color/brown,black?from=150&to=160")).cache, "HIT"); // the same call in another order
  });

  it("colors", async () => {
    assert.equal((await get("/color")).body.length, 8);
    assert.deepEqual((await get("/color/brown")).body, { id: 2, name: "brown", hex: "#6b4423" });
  });

  it("what is not there is a 404", async () => {
    for (const path of ["/bear/100000", "/color/mauve", "/job/bear/1-1", "/nothing"]) assert.equal((await get(path)).status, 404, path);
    assert.equal((await ask("PUT", "/bear/100000", { size: 1 })).status, 404);
    assert.equal((await ask("DELETE", "/bear/100000")).status, 404);
    assert.equal((await ask("DELETE", "/color/mauve")).status, 404);
  });
});

describe("writes", () => {
  it("an update is queued; when its job is done, just what it made stale is gone", async () => {
    const stale = ["/bear/5", "/bear?from=150&to=160", "/bear?from=700&to=710", "/bear/color/cream?from=0&to=160"];
    const others = ["/bear/6", "/bear?from=100&to=120", "/bear/color/cream?from=200&to=300", "/color"];
    for (const path of [...stale, ...others]) await get(path);
    for (const path of [...stale, ...others]) assert.equal((await get(path)).cache, "HIT", path);

    const job = await done("PUT", "/bear/5", { name: "Kodiak", size: 705 });
    assert.deepEqual([job.job, job.state], ["UPDATE_BEAR", "completed"]);

    for (const path of others) assert.equal((await get(path)).cache, "HIT", path);
    const [one, left, joined, colored] = (await Promise.all(stale.map(get))) as [Answer, Answer, Answer, Answer];
    for (const [at, { cache }] of [one, left, joined, colored].entries()) assert.equal(cache, "MISS", stale[at]);
    assert.deepEqual(one.body, { id: 5, name: "Kodiak", size: 705, colors: ["cream", "golden", "white"] });
    assert.deepEqual([left, joined, colored].map((answer) => ids(answer).includes(5)), [false, true, false]);
  });

  it("a bear is made, recolored and deleted, and lists that it belongs in follow", async () => {
    const list = "/bear/color/blue?from=9000&to=9010";
    assert.deepEqual((await get(list)).body, []);
    const { result } = await done("POST", "/bear", { name: "Ann", size: 9001, colors: ["blue"] });
    assert.deepEqual(ids(await get(list)), [result.id]);
    await done("PUT", `/bear/${result.id}`, { colors: ["white", "black"] });
    assert.deepEqual((await get(list)).body, []);
    assert.deepEqual((await get(`/bear/${result.id}`)).body.colors, ["black", "white"]);
    await done("DELETE", `/bear/${result.id}`);
    assert.equal((await get(`/bear/${result.id}`)).status, 404);
  });

  it("a bear that is sent twice under one key is made once", async () => {
    const send = (name: string) => ask("POST", "/bear", { name, size: 9100 }, { "idempotency-key": "request-18" });
    const [first, second] = [await send("Cid"), await send("Cid")];
    assert.deepEqual([first.status, second.body], [202, first.body]);
    assert.deepEqual(await send("Dan").then(({ status, body }) => [status, body.jobId]), [409, first.body.jobId]);
    assert.equal((await get(`/job/bear/${first.body.jobId}?wait=20000`)).body.state, "completed");
    const [only, ...more] = (await get("/bear?from=9100&to=9100")).body;
    assert.deepEqual([only.name, more], ["Cid", []]);
    await done("DELETE", `/bear/${only.id}`);
  });

  it("a color that goes takes itself out of the bears", async () => {
    await done("POST", "/color", { name: "teal", hex: "#008080" });
    await done("PUT", "/bear/10", { colors: ["teal", "brown"] });
    assert.deepEqual((await get("/bear/10")).body.colors, ["brown", "teal"]);
    await done("DELETE", "/color/teal");
    assert.deepEqual((await get("/bear/10")).body.colors, ["brown"]);
    assert.equal((await get("/color/teal")).status, 404);
  });

  it("a job that fails says why", async () => {
    const job = await done("POST", "/bear", { name: "Bob", size: 100, colors: ["mauve"] });
    assert.deepEqual([job.state, job.error], ["failed", "unknown color mauve"]);
  });

  it("what is not valid is a 400, and enqueues nothing", async () => {
    const before = Number((await bear.stats("bear")).completed) + (await bear.stats("bear")).failed;
    for (const [method, path, body, message] of [
      ["POST", "/bear", { size: 100 }, /name/],
      ["POST", "/bear", { name: "Ann", size: "large" }, /size must be an integer/],
      ["POST", "/bear", { name: "Ann", size: 0 }, /size must not be less than 1/],
      ["POST", "/bear", { name: "Ann", size: 100, age: 3 }, /age should not exist/],
      ["PUT", "/bear/5", { size: -1 }, /size/],
      ["PUT", "/bear/five", { size: 1 }, /numeric/],
      ["GET", "/bear?from=small", undefined, /from/],
      ["POST", "/color", { name: "red", hex: "red" }, /hex/],
      ["POST", "/email", { to: "ann", subject: "Hello", text: "" }, /to must be an email/],
      ["GET", "/job/bear/first", undefined, /id/],
      ["GET", "/job/cats/1-1", undefined, /no section/],
    ] as const) {
      const answer = await ask(method, path, body);
      assert.equal(answer.status, 400, `${method} ${path} ${JSON.stringify(body)}`);
      assert.match(String(answer.body.message), message);
    }
    const { completed, failed, waiting } = await bear.stats("bear");
    assert.deepEqual([completed + failed, waiting], [before, 0]);
  });

  it("what others write in Postgres is seen, too, and nothing else goes", async () => {
    await get("/bear/7");
    await get("/bear/8");
    await server.sql("UPDATE bear SET name = 'Elsewhere' WHERE id = 7");
    await eventually("it is seen", async () => (await get("/bear/7")).body.name === "Elsewhere");
    assert.equal((await get("/bear/8")).cache, "HIT");
  });
});

describe("e-mails", () => {
  it("five workers do them", async () => {
    gate.close();
    const queued = await Promise.all(
      Array.from({ length: 12 }, (_, at) => ask("POST", "/email", { to: `ann${at}@example.org`, subject: "Hello", text: "…" })),
    );
    await eventually("five are at work", () => gate.inside === 5);
    const { active, waiting } = await bear.stats("email");
    assert.deepEqual([active, waiting], [5, 7]);
    gate.open();
    for (const { body } of queued) assert.equal((await get(`/job/email/${body.jobId}?wait=20000`)).body.state, "completed");
    assert.equal(gate.most, 5);
    assert.equal(new Set(gate.sent.map(({ to }) => to)).size, 12);
  });

  it("the reminder is for weekdays at nine, and fires", async () => {
    const [reminder] = await bear.schedules("email");
    const clock = new Intl.DateTimeFormat("en", { timeZone: "Europe/Berlin", weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    assert.equal(reminder?.next.length, 3);
    for (const tick of reminder?.next ?? []) assert.match(clock.format(tick), /^(Mon|Tue|Wed|Thu|Fri),? 09:00$/);

    const file = join(server.folder, "catalog.toml");
    writeFileSync(file, catalog.replace(/^cron = .*\nzone = .*$/m, 'every = "500ms"'));
    await bear.reload();
    const email = await eventually("it is sent", () => gate.sent.find(({ subject }) => subject === "Feed the bears"));
    assert.deepEqual(email, { to: "keeper@example.org", subject: "Feed the bears", text: "There are 200 of them." });
    writeFileSync(file, catalog);
    await bear.reload();
  });
});

it("the README counts right", () => {
  const example = join(root, "examples/nestjs");
  const [, command = "", said] = /^\$ (cd examples\/nestjs && wc .*)\n([^`]*)```/m.exec(readFileSync(join(example, "README.md"), "utf8")) ?? [];
  assert.equal(said, execSync(command, { cwd: root, encoding: "utf8" }));
});

describe("operation", () => {
  it("is well", async () => {
    const { status, body } = await get("/health");
    assert.deepEqual([status, body.status, body.details.bear.status], [200, "ok", "up"]);
  });

  it("the board shows the queues, their jobs and the reminder", async () => {
    const page = await get("/admin/queues");
    assert.equal(page.status, 200);
    assert.match(page.body, /<base href="\/admin\/queues\/"/);
    const { status, body } = await get("/admin/queues/api/queues?activeQueue=email&status=completed&page=1&jobsPerPage=50");
    assert.equal(status, 200);
    const [bears, colors, emails] = body.queues;
    assert.deepEqual([bears.name, colors.name, emails.name], ["bear", "color", "email"]);
    assert.ok(bears.counts.completed > 0 && bears.counts.failed === 1 && colors.counts.completed === 2);
    assert.ok(emails.jobs.some(({ data }: { data: EmailDto }) => data.to === "ann7@example.org"));
    const { schedulers } = (await get("/admin/queues/api/job-schedulers")).body;
    assert.deepEqual(schedulers.map((each: any) => [each.queueName, each.id, each.pattern]), [["email", "reminder", "0 9 * * mon-fri"]]);
  });

  it("Postgres is away: hits go on, misses are a 503, writes are taken, and done when it is back", async () => {
    await get("/bear/11");
    await (await postgres()).stop();
    let queued: Answer;
    try {
      assert.equal((await get("/bear/11")).cache, "HIT");
      assert.equal((await get("/bear/12")).status, 503);
      queued = await ask("PUT", "/bear/11", { name: "Later" });
      assert.equal(queued.status, 202);
      const sick = await get("/health");
      assert.equal(sick.status, 503);
      assert.match(sick.body.error.bear.message, /Postgres is down|feed is lost/);
    } finally {
      await (await postgres()).startAgain();
    }
    assert.equal((await get(`/job/bear/${queued.body.jobId}?wait=20000`)).body.state, "completed");
    await eventually("reads go on", async () => (await get("/bear/11")).body.name === "Later");
    await eventually("health is well", async () => (await get("/health")).status === 200);
  });
});
