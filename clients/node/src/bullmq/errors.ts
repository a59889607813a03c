import { UnrecoverableError } from "bullmq";

/** What a refused operation was about. */
export interface About {
  id?: string | undefined;
  parent?: string | undefined;
  command: string;
  state?: string;
}

/** What the numbers mean that scripts answer: as BullMQ says it, since applications compare the texts. */
export function refused(code: number, about: About): Error {
  const { id, parent, command, state } = about;
  const texts: Record<number, string> = {
    [-1]: `Missing key for job ${id}. ${command}`,
    [-2]: `Missing lock for job ${id}. ${command}`,
    [-3]: `Job ${id} is not in the ${state} state. ${command}`,
    [-4]: `Job ${id} has pending dependencies. ${command}`,
    [-5]: `Missing key for parent job ${parent}. ${command}`,
    [-6]: `Lock mismatch for job ${id}. Cmd ${command} from ${state}`,
    [-7]: `The parent job ${parent} cannot be replaced. ${command}`,
    [-8]: `Job ${id} belongs to a job scheduler and cannot be removed directly. ${command}`,
    [-9]: `Cannot complete job ${id} because it has at least one failed child. ${command}`,
    [-10]: `Cannot create job scheduler iteration - job ID already exists. ${command}`,
    [-11]: `Cannot create job scheduler iteration - current and next time slots already have jobs. ${command}`,
  };
  const text = texts[code] ?? `Unknown code ${code} error for ${id}. ${command}`;
  return Object.assign(code === -9 ? new UnrecoverableError(text) : new Error(text), { code });
}
