import { createBullBoard } from "@bull-board/api";
import { ExpressAdapter } from "@bull-board/express";
import { Logger, type MiddlewareConsumer, Module, type NestModule, ValidationPipe } from "@nestjs/common";
import { APP_FILTER, APP_PIPE } from "@nestjs/core";
import { TerminusModule } from "@nestjs/terminus";
import type { Bear } from "bear";
import { BearAdapter } from "bear/bull-board";
import { BearExceptionFilter, BearModule, InjectBear } from "bear/nestjs";
import { Redis } from "ioredis";
import { BearController } from "./bear.controller.js";
import { ColorController } from "./color.controller.js";
import { EmailController, EmailProcessor, Transport } from "./email.js";
import { HealthController, JobController } from "./operation.js";

@Module({
  imports: [
    TerminusModule,
    BearModule.forRootAsync({
      useFactory: () => {
        const redis = new Redis(process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379");
        redis.on("error", ({ message }) => Logger.error(message, "Redis"));
        return { redis, closeRedis: () => redis.quit() };
      },
    }),
  ],
  controllers: [BearController, ColorController, EmailController, HealthController, JobController],
  providers: [
    EmailProcessor,
    Transport,
    { provide: APP_FILTER, useClass: BearExceptionFilter },
    { provide: APP_PIPE, useValue: new ValidationPipe({ transform: true, whitelist: true, forbidNonWhitelisted: true }) },
  ],
})
export class AppModule implements NestModule {
  @InjectBear() private readonly bear!: Bear;

  /** The board has no login of its own: put yours before its router. */
  configure(consumer: MiddlewareConsumer): void {
    const serverAdapter = new ExpressAdapter().setBasePath("/admin/queues");
    createBullBoard({ queues: ["bear", "color", "email"].map((section) => new BearAdapter(this.bear, section)), serverAdapter });
    consumer.apply(serverAdapter.getRouter()).forRoutes("/admin/queues");
  }
}
