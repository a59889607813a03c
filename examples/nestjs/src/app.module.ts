import { Logger, Module, ValidationPipe } from "@nestjs/common";
import { APP_FILTER, APP_PIPE } from "@nestjs/core";
import { TerminusModule } from "@nestjs/terminus";
import { BearExceptionFilter, BearModule } from "bear/nestjs";
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
export class AppModule {}
