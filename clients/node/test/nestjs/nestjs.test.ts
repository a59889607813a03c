// A Nest application over bear, through HTTP where it has routes.
import "reflect-metadata";
import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { Body, Controller, Get, Injectable, Module, Param, ParseIntPipe, Patch, type INestApplication } from "@nestjs/common";
import { APP_FILTER } from "@nestjs/core";
import { HealthCheck, HealthCheckService, TerminusModule } from "@nestjs/terminus";
import { Test } from "@nestjs/testing";
import { UnrecoverableError, type Bear, type RunningJob } from "bear";
import {
  BearExceptionFilter, BearHealthIndicator, BearModule, Cacheable, CacheEvict, CachePut, CacheRoute, EnqueueRoute, Existing, InjectBear, OnWorkerEvent, Process,
  Processor, QueryRoute, WorkerHost,
} from "bear/nestjs";
import type { Client } from "../support/clients.js";
import { eventually } from "../support/processes.js";
import { postgres, type BearServer } from "../support/server.js";
import { bearOf, ONE, shop, TWO } from "../support/shop.js";

let server: BearServer;

before(async () => {
  server = await shop();
});

let computed = 0;

@Injectable()
class Shelves {
  constructor(@InjectBear() readonly bear: Bear) {}

  @Cacheable("page", (category: string) => ["shelf", category], { ttl: 60_000, rows: ({ ids }: { ids: number[] }) => ({ product: ids }), tags: ["front"] })
  async shelf(category: string): Promise<{ category: string; ids: number[]; computed: number }> {
    return { category, ids: [1, 2], computed: ++computed };
  }

  @CachePut("page", (shelf: { category: string }) => ["shelf", shelf.category])
  async rename(category: string): Promise<{ category: string; ids: number[]; computed: number }> {
    return { category, ids: [], computed: -1 };
  }

  @CacheEvict("page", { call: (_: unknown, category: string) => ["shelf", category] })
  async evictCall(category: string): Promise<string> {
    return category;
  }

  @CacheEvict("page", { tags: (_: unknown, category: string) => [`shelf:${category}`] })
  async evictTag(category: string): Promise<void> {
    if (category === "") throw new Error("no category");
  }

  @CacheEvict("page", { rows: { product: [2] } })
  async evictRow(_category: string): Promise<void> {}

  @CacheEvict("page", { pattern: (_: unknown, category: string) => `shelf:${category}*` })
  async evictPattern(_category: string): Promise<void> {}

  @CacheEvict("page", { tags: ["front"] })
  async evictUnlessThrown(): Promise<void> {
    throw new Error("not written");
  }
}

@Controller()
class Routes {
  constructor(
    private readonly health: HealthCheckService,
    private readonly indicator: BearHealthIndicator,
  ) {}

  @Get("shelves/:category")
  @CacheRoute("page", ({ params }: { params: { category: string } }) => ["shelf", `route-${params.category}`], { tags: ["route"] })
  shelf(@Param("category") category: string): object {
    return { category, computed: ++computed };
  }

  @Get("product/:id")
  @QueryRoute("product")
  product(@Param("id", ParseIntPipe) id: number): number[] {
    return [id];
  }

  @Get("products/:word")
  @QueryRoute("product")
  products(@Param("word") word: string): (string | number)[] {
    return word === "slow" ? [word, "soon", 1] : ["in", word];
  }

  // @ts-expect-error a query's handler returns the words of a call
  @QueryRoute("product")
  wrong(): string {
    return "1";
  }

  @Patch("product/:id")
  @EnqueueRoute("product", "SET_PRICE", ({ headers }) => (headers["idempotency-key"] ? { unique: headers["idempotency-key"] } : {}))
  price(@Param("id", ParseIntPipe, Existing("product")) id: number, @Body() body: object): object {
    return { id, ...body };
  }

  @Get("health/postgres")
  @HealthCheck()
  checkPostgres(): Promise<unknown> {
    return this.health.check([() => this.indicator.isHealthy("bear", { postgres: true })]);
  }

  @Get("health")
  @HealthCheck()
  check(): Promise<unknown> {
    return this.health.check([() => this.indicator.isHealthy("bear", { space: "mail", timeout: 500 })]);
  }
}
// Metadata of a compiler that the tests do not rely on.
Reflect.defineMetadata("design:paramtypes", [HealthCheckService, BearHealthIndicator], Routes);

const heard: string[] = [];

@Processor("mail", { concurrency: 2 })
class Mailer {
  constructor(private readonly shelves: Shelves) {}

  @Process("SEND")
  async send(job: RunningJob<{ to: string; subject: string }>): Promise<object> {
    if (job.data.to === "nobody") throw new UnrecoverableError("no such address");
    return { sent: job.data.subject, by: this.shelves.constructor.name };
  }

  @OnWorkerEvent("completed")
  onCompleted(job: RunningJob): void {
    heard.push(`completed ${job.id}`);
  }

  @OnWorkerEvent("failed")
  onFailed(job: RunningJob, error: Error): void {
    heard.push(`failed ${job.id} ${error.message}`);
  }
}
Reflect.defineMetadata("design:paramtypes", [Shelves], Mailer);

for (const kind of TWO) {
  describe(kind.name, () => {
    let client: Client;
    let app: INestApplication;
    let url: string;
    let shelves: Shelves;
    let isEnded = false;

    before(async () => {
      client = await kind.connect(server.url);

      @Module({
        imports: [
          TerminusModule,
          BearModule.forRootAsync({
            useFactory: async () => ({ redis: client.redis, closeRedis: () => { isEnded = true; } }),
          }),
        ],
        controllers: [Routes],
        providers: [Shelves, Mailer, { provide: APP_FILTER, useClass: BearExceptionFilter }],
      })
      class App {}

      app = (await Test.createTestingModule({ imports: [App] }).compile()).createNestApplication({ logger: false });
      await app.listen(0, "127.0.0.1");
      url = `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}`;
      shelves = app.get(Shelves);
    });

    after(async () => {
      await app.close();
      client.close();
      assert.ok(isEnded, "what the module was given to do in the end is done");
    });

    it("a cacheable method runs once, until each kind of eviction", async () => {
      await shelves.bear.invalidate.all("page");
      const numbers: number[] = [];
      const ask = async () => {
        for (let twice = 0; twice < 2; twice++) numbers.push((await shelves.shelf("lamps")).computed);
      };
      await ask();
      assert.equal(numbers[0], numbers[1]);
      for (const evict of ["evictCall", "evictTag", "evictRow", "evictPattern"] as const) {
        await shelves[evict]("lamps");
        await ask();
        assert.equal(numbers.at(-1), numbers.at(-2), evict);
        assert.notEqual(numbers.at(-1), numbers.at(-3), evict);
      }
      assert.deepEqual((await shelves.bear.explain("page", "shelf", "lamps"))["tags"], ["front", "shelf:lamps"]);
    });

    it("a method that throws evicts nothing, and its error comes through", async () => {
      const { computed: before } = await shelves.shelf("chairs");
      await assert.rejects(shelves.evictUnlessThrown(), /not written/);
      await assert.rejects(shelves.evictTag(""), /no category/);
      assert.equal((await shelves.shelf("chairs")).computed, before);
    });

    it("CachePut writes what was returned", async () => {
      await shelves.shelf("benches");
      await shelves.rename("benches");
      assert.equal((await shelves.shelf("benches")).computed, -1);
    });

    it("a route's answer is a value: a miss, then hits, until it is evicted", async () => {
      const ask = async () => {
        const reply = await fetch(`${url}/shelves/${client.constructor.name}`);
        return [reply.headers.get("x-cache"), ((await reply.json()) as { computed: number }).computed] as const;
      };
      await shelves.bear.invalidate.tag("page", "route");
      const [first, number] = await ask();
      assert.equal(first, "MISS");
      assert.deepEqual(await ask(), ["HIT", number]);
      await shelves.bear.invalidate.tag("page", "route");
      assert.equal((await ask())[0], "MISS");
    });

    const ask = async (path: string, options: RequestInit = {}) => {
      const reply = await fetch(`${url}/${path}`, { headers: { "content-type": "application/json" }, ...options });
      return { status: reply.status, cache: reply.headers.get("x-cache"), body: (await reply.json()) as any };
    };

    it("a route that is a query: a miss, then hits; null is a 404, and what pipes refuse a 400", async () => {
      await shelves.bear.invalidate.all("product");
      assert.deepEqual(await ask("product/7"), { status: 200, cache: "MISS", body: await shelves.bear.query("product", 7) });
      assert.equal((await ask("product/7")).cache, "HIT");
      assert.equal((await ask("product/100000")).status, 404);
      assert.equal((await ask("product/seven")).status, 400);
      assert.deepEqual((await ask("products/lamps")).status, 200);
      assert.match((await ask("products/slow")).body.message, /^ms must be an integer/);
    });

    it("a route that is a job: 202 and its id; a payload that does not fit is a 400, another one under the same key a 409", async () => {
      const patch = (price: unknown, key?: string) =>
        ask("product/8", { method: "PATCH", body: JSON.stringify({ price }), headers: { "content-type": "application/json", ...(key && { "idempotency-key": key }) } });
      const key = `key of ${client.constructor.name} ${kind.name}`;
      const { status, body } = await patch(8.5, key);
      assert.equal(status, 202);
      assert.equal((await shelves.bear.wait("product", body.jobId))?.state, "completed");
      assert.equal((await ask("product/8")).body.price, 8.5);
      assert.deepEqual((await patch(8.5, key)).body, body);
      assert.deepEqual(await patch(9, key), { status: 409, cache: null, body: { statusCode: 409, message: "another job has this key", jobId: body.jobId } });
      assert.equal((await ask("product/100000", { method: "PATCH", body: "{}" })).status, 404);
      const wrong = await patch("dear");
      assert.equal(wrong.status, 400);
      assert.match(wrong.body.message, /price/);
    });

    it("with Postgres away misses are a 503 that names no server, and so is health where it looks at Postgres", async () => {
      assert.equal((await ask("health/postgres")).status, 200);
      await (await postgres()).stop();
      try {
        const { status, body } = await eventually("misses fail", async () => {
          const found = await ask("product/999");
          return found.status >= 500 ? found : undefined;
        });
        assert.deepEqual([status, body.message], [503, "POSTGRES: try again later"]);
        const health = await ask("health/postgres");
        assert.equal(health.status, 503);
        assert.equal(health.body.error.bear.message, "Postgres is down");
      } finally {
        await (await postgres()).startAgain();
      }
      await eventually("misses go on", async () => (await ask("product/999")).status === 200);
      await eventually("health is well", async () => (await ask("health/postgres")).status === 200);
    });

    it("a processor does jobs, by type, with what was injected, and hears of their ends", async () => {
      const [sent, never] = await Promise.all(["ann", "nobody"].map((to) => shelves.bear.enqueue("mail", "SEND", { to, subject: "Hello" })));
      assert.deepEqual((await shelves.bear.wait("mail", sent as string))?.result, { sent: "Hello", by: "Shelves" });
      assert.equal((await shelves.bear.wait("mail", never as string))?.state, "failed");
      await eventually("both are heard of", () => heard.includes(`completed ${sent}`) && heard.includes(`failed ${never} no such address`));
      const slow = await shelves.bear.enqueue("mail", "SLOW", { ms: 1 });
      assert.equal((await shelves.bear.job("mail", slow))?.state, "waiting"); // no method does it, so it is not claimed
      await shelves.bear.remove("mail", slow);
    });

    it("health", async () => {
      const reply = await fetch(`${url}/health`);
      assert.equal(reply.status, 200);
      const { details } = (await reply.json()) as { details: { bear: { status: string; waiting: number } } };
      assert.equal(details.bear.status, "up");
      assert.equal(details.bear.waiting, 0);
      process.kill(server.pid, "SIGSTOP");
      try {
        const away = await fetch(`${url}/health`);
        assert.equal(away.status, 503);
        assert.match(JSON.stringify(await away.json()), /no answer within 500 ms/);
      } finally {
        process.kill(server.pid, "SIGCONT");
      }
    });
  });
}

@Processor("mail")
class Host extends WorkerHost<{ to: string }> {
  async process(job: RunningJob<{ to: string }>): Promise<string> {
    return `${job.job} to ${job.data.to}`;
  }
}

describe("a WorkerHost", () => {
  it("does all types by one method, and ends with the application without losing a job", async () => {
    const { bear } = await bearOf(ONE, server.url);
    const client = await ONE.connect(server.url);
    const module = await Test.createTestingModule({ imports: [BearModule.forRoot({ redis: client.redis })], providers: [Host] }).compile();
    const app = await module.createNestApplication({ logger: false }).init();
    const id = await bear.enqueue("mail", "SEND", { to: "ann", subject: "x" });
    assert.equal((await bear.wait("mail", id))?.result, "SEND to ann");
    // Who waits may hear of the end before the worker does.
    await eventually("the worker has heard, too", () => app.get(Host).worker.active.length === 0);
    await app.close();
    const later = await bear.enqueue("mail", "SEND", { to: "bob", subject: "x" });
    assert.equal((await bear.job("mail", later))?.state, "waiting");
    await bear.remove("mail", later);
    client.close();
  });

  it("a processor that has no method to process by is refused", async () => {
    @Processor("mail")
    class Nothing {}
    const client = await ONE.connect(server.url);
    const module = await Test.createTestingModule({ imports: [BearModule.forRoot({ redis: client.redis })], providers: [Nothing] }).compile();
    await assert.rejects(module.createNestApplication({ logger: false }).init(), /neither/);
    await module.close();
    client.close();
  });
});
