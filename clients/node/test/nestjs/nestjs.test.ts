// A Nest application over bear, through HTTP where it has routes.
import "reflect-metadata";
import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { Controller, Get, Injectable, Module, Param, type INestApplication } from "@nestjs/common";
import { HealthCheck, HealthCheckService, TerminusModule } from "@nestjs/terminus";
import { Test } from "@nestjs/testing";
import { UnrecoverableError, type Bear, type RunningJob } from "bear";
import {
  BearHealthIndicator, BearModule, Cacheable, CacheEvict, CachePut, CacheRoute, InjectBear, OnWorkerEvent, Process, Processor, WorkerHost,
} from "bear/nestjs";
import type { Client } from "../support/clients.js";
import { eventually } from "../support/processes.js";
import type { BearServer } from "../support/server.js";
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
        providers: [Shelves, Mailer],
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
    assert.equal(app.get(Host).worker.active.length, 0);
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
