// Processors: classes whose instances do a space's jobs. Their workers begin when the application has, and close before it ends.
import { Inject, Injectable, Logger, SetMetadata, type BeforeApplicationShutdown, type OnApplicationBootstrap } from "@nestjs/common";
import { DiscoveryService } from "@nestjs/core";
import type { Bear } from "../client/bear.js";
import type { RunningJob } from "../worker/job.js";
import { Worker, type Handler, type WorkerEvents, type WorkerOptions } from "../worker/worker.js";
import { BEAR } from "./tokens.js";

const PROCESSOR = "bear:processor";
const PROCESS = "bear:process";
const EVENTS = "bear:events";

interface Processing {
  space: string;
  options: WorkerOptions;
}

/** A provider whose `process`, or whose methods with `@Process`, do the jobs of a space. */
export function Processor(space: string, options: WorkerOptions = {}): ClassDecorator {
  return (target) => {
    Injectable()(target);
    SetMetadata(PROCESSOR, { space, options } satisfies Processing)(target);
  };
}

/** The method does jobs of this type; only types that have one are claimed. */
export function Process(job: string): MethodDecorator {
  return SetMetadata(PROCESS, job) as MethodDecorator;
}

/** The method hears of an event of the worker. */
export function OnWorkerEvent(event: keyof WorkerEvents): MethodDecorator {
  return (_target, _name, descriptor) => {
    const method = (descriptor as PropertyDescriptor).value as object;
    const events = ((Reflect as any).getMetadata(EVENTS, method) ?? []) as string[];
    (Reflect as any).defineMetadata(EVENTS, [...events, event], method);
  };
}

/** What a processor extends that does all jobs of its space by one method. */
export abstract class WorkerHost<Data = any, Result = unknown> {
  private its: Worker | undefined;

  abstract process(job: RunningJob<Data>): Promise<Result>;

  /** There once the application has begun. */
  get worker(): Worker {
    if (!this.its) throw new Error("the worker begins with the application");
    return this.its;
  }

  /** @internal */
  set worker(worker: Worker) {
    this.its = worker;
  }
}

@Injectable()
export class Processors implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger("Bear");
  private readonly workers: Worker[] = [];

  constructor(
    @Inject(BEAR) private readonly bear: Bear,
    @Inject(DiscoveryService) private readonly discovery: DiscoveryService,
  ) {}

  onApplicationBootstrap(): void {
    for (const { instance, metatype } of this.discovery.getProviders()) {
      const processing = metatype && ((Reflect as any).getMetadata(PROCESSOR, metatype) as Processing | undefined);
      if (processing && instance) this.start(instance, processing);
    }
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.close()));
  }

  private start(instance: any, { space, options }: Processing): void {
    const handlers: Record<string, Handler> = {};
    const events: [keyof WorkerEvents, (...words: any[]) => void][] = [];
    for (const name of methodsOf(instance)) {
      const job = (Reflect as any).getMetadata(PROCESS, instance[name]) as string | undefined;
      if (job !== undefined) handlers[job] = (running) => instance[name](running);
      for (const event of ((Reflect as any).getMetadata(EVENTS, instance[name]) ?? []) as (keyof WorkerEvents)[]) {
        events.push([event, (...words) => instance[name](...words)]);
      }
    }
    const hasTypes = Object.keys(handlers).length > 0;
    if (!hasTypes && typeof instance.process !== "function") {
      throw new Error(`${instance.constructor.name} is a processor of ${space}, and has neither \`process\` nor methods with @Process`);
    }
    const worker = new Worker(this.bear, space, hasTypes ? handlers : (job: RunningJob) => instance.process(job), { ...options, autorun: false });
    worker.on("error", (error) => this.logger.error(`${space}: ${error.message}`));
    for (const [event, hear] of events) worker.on(event, hear as never);
    if (instance instanceof WorkerHost) instance.worker = worker;
    this.workers.push(worker);
    if (options.autorun !== false) worker.start();
  }
}

function methodsOf(instance: object): string[] {
  const names = new Set<string>();
  for (let of = Object.getPrototypeOf(instance) as object | null; of && of !== Object.prototype; of = Object.getPrototypeOf(of)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(of))) {
      if (name !== "constructor" && typeof value === "function") names.add(name);
    }
  }
  return [...names];
}
