import { Body, Controller, Injectable, Logger, Post } from "@nestjs/common";
import type { Bear, RunningJob } from "bear";
import { EnqueueRoute, InjectBear, Process, Processor } from "bear/nestjs";
import { EmailDto } from "./dto.js";

/** Yours speaks SMTP, or to a service, and gives up when the signal is aborted; this one writes to the log. */
@Injectable()
export class Transport {
  private readonly logger = new Logger("E-mail");

  async send({ to, subject }: EmailDto, _signal: AbortSignal): Promise<void> {
    this.logger.log(`to ${to}: ${subject}`);
  }
}

@Controller("email")
export class EmailController {
  @Post()
  @EnqueueRoute("email", "SEND")
  send(@Body() email: EmailDto) {
    return email;
  }
}

@Processor("email", { concurrency: 5 })
export class EmailProcessor {
  @InjectBear() private readonly bear!: Bear;

  constructor(private readonly transport: Transport) {}

  @Process("SEND")
  send(job: RunningJob<EmailDto>) {
    return this.transport.send(job.data, job.signal);
  }

  /** Enqueued by the schedule in the catalog. */
  @Process("REMIND")
  async remind(job: RunningJob<{ to: string }>) {
    const bears = await this.bear.query<unknown[]>("bear", "size", 0, Number.MAX_SAFE_INTEGER);
    const email = { to: job.data.to, subject: "Feed the bears", text: `There are ${bears.length} of them.` };
    return this.bear.enqueue("email", "SEND", email, { unique: `reminder ${job.id}` }); // once, though this may run twice
  }
}
