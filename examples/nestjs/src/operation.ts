import { Controller, DefaultValuePipe, Get, NotFoundException, Param, ParseIntPipe, Query } from "@nestjs/common";
import { HealthCheck, HealthCheckService } from "@nestjs/terminus";
import type { Bear } from "bear";
import { BearHealthIndicator, InjectBear } from "bear/nestjs";

@Controller("health")
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly bear: BearHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  check() {
    return this.health.check([() => this.bear.isHealthy("bear", { postgres: true, space: "email", maxAge: 600_000 })]);
  }
}

@Controller("job")
export class JobController {
  @InjectBear() private readonly bear!: Bear;

  @Get(":space/:id") // ?wait=5000: as soon as it has ended, or after so many ms
  async job(@Param("space") space: string, @Param("id") id: string, @Query("wait", new DefaultValuePipe(0), ParseIntPipe) wait: number) {
    if (wait > 0) await this.bear.wait(space, id, { timeout: Math.min(wait, 30_000) }).catch(() => {});
    const job = await this.bear.job(space, id);
    if (!job) throw new NotFoundException();
    return { id, job: job.job, state: job.state, attempts: job.attempts, result: job.result, error: job.error?.message };
  }
}
