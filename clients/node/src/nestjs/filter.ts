// Errors of bear as answers to HTTP requests. All others are answered as Nest does without it.
import {
  BadRequestException, Catch, ConflictException, Logger, PayloadTooLargeException, ServiceUnavailableException, type ArgumentsHost,
} from "@nestjs/common";
import { BaseExceptionFilter } from "@nestjs/core";
import { DuplicateError, hasCode } from "../client/errors.js";
import { isConnectionError } from "../client/waits.js";

/** What may go well later. */
const LATER = ["POSTGRES", "TIMEOUT", "OVERLOADED", "FULL", "READONLY", "UNSAFE", "OOM", "LOADING", "MASTERDOWN", "UNBLOCKED", "BUSY", "MISCONF"] as const;

/**
 * 400 with the text where the command was wrong (`ERR`: a value that is not of its type, a payload that lacks a field), 409 with the
 * `jobId` of the job that has the key (`DUPLICATE`), 413 (`TOOLARGE`), 503 where it may go well later: Redis or Postgres is away, a
 * queue is full. Texts about servers are logged, and not answered. Other errors, of bear's too, go where they would without it.
 */
@Catch()
export class BearExceptionFilter extends BaseExceptionFilter {
  private readonly log = new Logger("Bear");

  override catch(error: unknown, host: ArgumentsHost): void {
    if (host.getType() !== "http") throw error;
    super.catch(this.toHttp(error), host);
  }

  private toHttp(error: unknown): unknown {
    if (error instanceof DuplicateError) return new ConflictException({ statusCode: 409, message: "another job has this key", jobId: error.id });
    if (hasCode(error, "ERR")) return new BadRequestException(error.message);
    if (hasCode(error, "TOOLARGE")) return new PayloadTooLargeException(error.message);
    if (hasCode(error, ...LATER)) {
      this.log.warn(`${error.code} ${error.message}`);
      return new ServiceUnavailableException(`${error.code}: try again later`);
    }
    if (isConnectionError(error)) {
      this.log.warn(String(error));
      return new ServiceUnavailableException("Redis cannot be reached");
    }
    return error;
  }
}
