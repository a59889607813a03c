// An application of NestJS with @nestjs/bullmq, and Bull Board's adapter of BullMQ, of which one line is another.
import "reflect-metadata";
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import {
  BullModule,
  InjectQueue,
  OnQueueEvent,
  OnWorkerEvent,
  Processor,
  QueueEventsHost,
  QueueEventsListener,
  WorkerHost,
} from "@nestjs/bullmq";
import { Injectable, Module, type INestApplicationContext } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { createBearBackend } from "bear/bullmq";
import { setDefaultBackendFactory, type Job, type Queue } from "bullmq";
import { eventually } from "../support/processes.js";
import { BearServer } from "../support/server.js";

let server: BearServer;
let app: INestApplicationContext;
const seen: string[] = [];

@Processor("mail", { concurrency: 2 })
class Mailer extends WorkerHost {
  async process(job: Job<{ to: string }>): Promise<{ sent: string }> {
    if (job.name === "bad") throw new Error("no such address");
    await job.log(`to ${job.data.to}`);
    await job.updateProgress(50);
    return { sent: job.data.to };
  }

  @OnWorkerEvent("completed")
  completed(job: Job): void {
    seen.push(`worker ${job.name}`);
  }
}

@QueueEventsListener("mail")
class Listener extends QueueEventsHost {
  @OnQueueEvent("completed")
  completed({ returnvalue }: { returnvalue: unknown }): void {
    seen.push(`event ${JSON.stringify(returnvalue)}`);
  }
}

@Injectable()
class Sender {
  constructor(@InjectQueue("mail") readonly queue: Queue) {}
}

before(async () => {
  server = await BearServer.start({ catalog: '[bullmq]\nopen = true\ntenant = "text"\nclaim = { attempts = 100, keep = 0, keep_failed = 0 }\n' });
  setDefaultBackendFactory(createBearBackend); // the line

  @Module({
    imports: [BullModule.forRoot({ connection: { host: "127.0.0.1", port: server.port } }), BullModule.registerQueue({ name: "mail" })],
    providers: [Mailer, Listener, Sender],
  })
  class App {}
  app = await NestFactory.createApplicationContext(App, { logger: ["error"] });
});

after(async () => {
  await app?.close();
  setDefaultBackendFactory();
  await server.stop();
});

it("runs processors, worker events and queue events, and shows them on Bull Board", async () => {
  const { queue } = app.get(Sender);
  await queue.add("welcome", { to: "ann@example.org" });
  await queue.add("bad", { to: "nobody" });
  const later = await queue.add("later", { to: "bob@example.org" }, { delay: 3_600_000 });
  await eventually("the mail is sent, and told twice", () => seen.length >= 2);
  assert.deepEqual(seen.sort(), ['event {"sent":"ann@example.org"}', "worker welcome"]);
  assert.match(await server.send("BEAR.STATS {mail}:bullmq"), /delayed\r\n:1\r/);

  const board = new BullMQAdapter(queue);
  await eventually("one has failed", async () => (await board.getJobCounts()).failed === 1);
  const counts = await board.getJobCounts();
  assert.deepEqual([counts.completed, counts.failed, counts.delayed, counts.waiting, counts.active], [1, 1, 1, 0, 0]);
  const [done] = await board.getJobs(["completed"], 0, 10);
  assert.deepEqual([done?.name, done?.returnvalue, done?.progress], ["welcome", { sent: "ann@example.org" }, 50]);
  assert.deepEqual(await board.getJobLogs(String(done?.id)), ["to ann@example.org"]);
  const failed = await board.getJob((await board.getJobs(["failed"], 0, 10))[0]?.id as string);
  assert.equal(failed?.failedReason, "no such address");
  await board.pause();
  assert.equal(await board.isPaused(), true);
  await failed?.retry();
  await later.promote();
  assert.equal((await board.getJobCounts()).waiting, 2);
  await board.resume();
  await eventually("both have been tried", async () => {
    const { completed, failed, waiting } = await board.getJobCounts();
    return completed === 2 && failed === 1 && waiting === 0;
  });
  await board.clean("completed", 0);
  assert.equal((await board.getJobCounts()).completed, 0);
  assert.match((await board.getRedisInfo()) ?? "", /redis_version/);
  assert.equal((await queue.getWorkers()).length, 1);
});
