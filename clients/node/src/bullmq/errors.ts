import { UnrecoverableError } from "bullmq";

/** An operation of BullMQ's that has no counterpart on bear. */
export class NotSupportedError extends Error {
  constructor(what: string) {
    super(`${what} not supported on bear`);
    this.name = "NotSupportedError";
  }
}

/** What the numbers mean that scripts answer: as BullMQ says it, since applications compare the texts. */
export function refused(code: number, about: { id?: string | undefined; command: string; state?: string }): Error {
  const { id, command, state } = about;
  const texts: Record<number, string> = {
    [-1]: `Missing key for job ${id}. ${command}`,
    [-2]: `Missing lock for job ${id}. ${command}`,
    [-3]: `Job ${id} is not in the ${state} state. ${command}`,
    [-4]: `Job ${id} has pending dependencies. ${command}`,
    [-6]: `Lock mismatch for job ${id}. Cmd ${command} from ${state}`,
    [-8]: `Job ${id} belongs to a job scheduler and cannot be removed directly. ${command}`,
    [-10]: `Cannot create job scheduler iteration - job ID already exists. ${command}`,
    [-11]: `Cannot create job scheduler iteration - current and next time slots already have jobs. ${command}`,
  };
  const text = texts[code] ?? `Unknown code ${code} error for ${id}. ${command}`;
  return Object.assign(code === -9 ? new UnrecoverableError(text) : new Error(text), { code });
}
