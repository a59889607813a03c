// What somebody asked the board for and cannot have: Bull Board answers an error's `statusCode` and shows its message.
import { BearError, type BearErrorCode } from "../client/errors.js";
import { isConnectionError } from "../client/waits.js";

export class Refusal extends Error {
  override readonly name = "Refusal";

  constructor(
    readonly statusCode: 400 | 403 | 404 | 409 | 500,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const STATUS: Partial<Record<BearErrorCode, 403 | 409 | 500>> = {
  NOPERM: 403, NOAUTH: 403, DUPLICATE: 409, FULL: 409, FOREIGN: 409, LEDGER: 409, LOADING: 500, MASTERDOWN: 500, MISCONF: 500, BUSY: 500, OOM: 500,
};

/** What a command answered, for who looks at the board. */
export function toRefusal(error: unknown): unknown {
  if (error instanceof Refusal) return error;
  if (error instanceof BearError) return new Refusal(STATUS[error.code as BearErrorCode] ?? 400, textOf(error), { cause: error });
  if (isConnectionError(error)) return new Refusal(500, textOf(error), { cause: error });
  return error;
}

/** An error as a line on the board. */
export function textOf(error: unknown): string {
  if (error instanceof BearError) return error.code === "ERR" ? error.message : `${error.code} ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
