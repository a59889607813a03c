// What Terminus asks. It returns what Terminus expects, and imports nothing of it, so that it need not be there.
import { Inject, Injectable } from "@nestjs/common";
import type { Bear } from "../client/bear.js";
import { BEAR } from "./tokens.js";

export interface HealthOptions {
  /** What is waited for an answer, in ms. Default 1,000. */
  timeout?: number;
  /**
   * Postgres is looked at, too, as the server knows it: the connections that fetch, those that apply jobs, and the change feed. The feed
   * knows at once; without it a server that has nothing to do finds out with the next miss or job.
   */
  postgres?: boolean;
  /** A queue that is looked at, too: its ledger and keys are well, and it is not too old. */
  space?: string;
  /** With `space`: its oldest job is no older, in ms. */
  maxAge?: number;
  /** With `space`: no more jobs have failed. */
  maxFailed?: number;
}

type Health<Key extends string> = Record<Key, { status: "up" | "down" } & Record<string, unknown>>;

@Injectable()
export class BearHealthIndicator {
  constructor(@Inject(BEAR) private readonly bear: Bear) {}

  /** For `HealthCheckService.check([() => bear.isHealthy("bear")])`. */
  async isHealthy<Key extends string = "bear">(key: Key = "bear" as Key, options: HealthOptions = {}): Promise<Health<Key>> {
    const result = (status: "up" | "down", more: Record<string, unknown>) => ({ [key]: { status, ...more } }) as Health<Key>;
    let timer: NodeJS.Timeout | undefined;
    try {
      const timeout = options.timeout ?? 1000;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${timeout} ms`)), timeout);
      });
      const begun = performance.now();
      await Promise.race([this.bear.send(["PING"]), late]);
      const ms = Math.round(performance.now() - begun);
      if (options.postgres) {
        const message = postgresAway(String(await Promise.race([this.bear.send(["INFO", "bear"]), late])));
        if (message !== undefined) return result("down", { ms, message });
      }
      if (options.space === undefined) return result("up", { ms });
      const { ledger, keys, waiting, failed, oldestMs, paused } = await Promise.race([this.bear.stats(options.space), late]);
      const queue = { ms, waiting, failed, oldestMs, paused };
      if (ledger !== "ok" && ledger !== "unknown") return result("down", { message: ledger, ...queue });
      if (keys !== "ok") return result("down", { message: keys, ...queue });
      if (options.maxAge !== undefined && oldestMs > options.maxAge) return result("down", { message: `the oldest job is ${oldestMs} ms old`, ...queue });
      if (options.maxFailed !== undefined && failed > options.maxFailed) return result("down", { message: `${failed} jobs have failed`, ...queue });
      return result("up", queue);
    } catch (error) {
      return result("down", { message: error instanceof Error ? error.message : String(error) });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Why Postgres is not there, by INFO. Its errors name hosts and roles, and are left to the server's log. */
function postgresAway(info: string): string | undefined {
  const figure = (name: string) => new RegExp(`^bear_${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
  if (figure("postgres_state") === "down" || figure("appliers_state") === "down") return "Postgres is down";
  if (figure("feed_state") === "lost") return "the change feed is lost";
  return undefined;
}
