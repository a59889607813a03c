// Errors by the code that stands first in the server's text: docs/reference/errors.md lists them.

/** The codes of bear's errors, and those of Redis' own that its commands answer. */
export type BearErrorCode =
  | "ERR"
  | "NOWAIT"
  | "POSTGRES"
  | "TIMEOUT"
  | "TOOLARGE"
  | "QUERY"
  | "OVERLOADED"
  | "READONLY"
  | "FULL"
  | "UNSAFE"
  | "DUPLICATE"
  | "LOST"
  | "CANCELLED"
  | "WRONGTYPE"
  | "FOREIGN"
  | "CATALOG"
  | "LEDGER"
  | "NOPERM"
  | "NOAUTH"
  | "MOVED"
  | "LOADING"
  | "OOM"
  | "UNBLOCKED"
  | "MASTERDOWN"
  | "MISCONF"
  | "BUSY";

/** An error that the server answered. `message` is its text without the code. */
export class BearError<Code extends BearErrorCode = BearErrorCode> extends Error {
  override readonly name: string = "BearError";

  constructor(
    readonly code: Code,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The UNIQUE key is another job's. */
export class DuplicateError extends BearError<"DUPLICATE"> {
  override readonly name = "DuplicateError";

  constructor(
    message: string,
    /** The id of the job that holds the key. */
    readonly id: string,
    options?: ErrorOptions,
  ) {
    super("DUPLICATE", message, options);
  }
}

/** Does the error have this code? */
export function hasCode<Code extends BearErrorCode>(error: unknown, ...codes: Code[]): error is BearError<Code> {
  return error instanceof BearError && (codes as string[]).includes(error.code);
}

// The text of a server's error begins with a word in capitals; that of a client's own (a lost connection) does not.
const SERVER_ERROR = /^([A-Z][A-Z]+)(?: ([\s\S]*))?$/;

/** What a client threw, or what stands in a reply: a BearError, or what it was if it is none of the server's. */
export function toBearError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof BearError) return error;
  const [, code, text] = SERVER_ERROR.exec(error.message) ?? [];
  if (code === undefined || !isReplyError(error)) return error;
  if (code === "DUPLICATE") return new DuplicateError(text ?? "", text?.split(" ", 1)[0] ?? "", { cause: error });
  return new BearError(code as BearErrorCode, text ?? "", { cause: error });
}

/** ioredis calls it ReplyError; node-redis has classes below ErrorReply, of which some are named as Error is. */
function isReplyError(error: Error): boolean {
  for (let made = error.constructor; typeof made === "function" && made !== Error; made = Object.getPrototypeOf(made)) {
    if (made.name === "ReplyError" || made.name === "ErrorReply") return true;
  }
  return error.name === "ReplyError";
}
