// Programs that a test starts, none of which outlives it: a shell stands between, which ends its program when its input
// ends, as it does however this process goes.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { createServer, type AddressInfo } from "node:net";
import { mkdtempSync, rmSync, openSync, closeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const GUARD = `signal=$1; shift
"$@" </dev/null &
pid=$!
echo $pid >&3
exec 3>&-
read -r how && signal=$how
kill -$signal $pid 2>/dev/null
wait $pid`;

export class Program {
  private constructor(
    private readonly shell: ChildProcess,
    readonly pid: number,
    private readonly ended: Promise<unknown>,
  ) {}

  /** Starts a program; `signal` ends it. What it says goes to the end of the file `log`. */
  static async start(words: string[], options: { signal: string; log: string; cwd?: string; env?: NodeJS.ProcessEnv }): Promise<Program> {
    const log = openSync(options.log, "a");
    const shell = spawn("sh", ["-c", GUARD, "guard", options.signal, ...words], {
      stdio: ["pipe", log, log, "pipe"],
      cwd: options.cwd ?? "/",
      env: options.env ?? process.env,
    });
    closeSync(log);
    const ended = once(shell, "exit");
    const lines = createInterface({ input: shell.stdio[3] as NodeJS.ReadableStream });
    const [pid] = (await once(lines, "line")) as [string];
    shell.unref();
    (shell.stdin as unknown as { unref(): void }).unref();
    (shell.stdio[3] as unknown as { unref(): void }).unref();
    return new Program(shell, Number(pid), ended);
  }

  /** Ends it by this signal, or the one it was started with, and waits until it has ended. */
  async end(signal?: string): Promise<void> {
    this.shell.ref();
    if (signal === undefined) this.shell.stdin?.end();
    else this.shell.stdin?.end(`${signal}\n`);
    await this.ended;
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const folders: string[] = [];
process.on("exit", () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** A new folder, gone when this process ends. */
export function newFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `bear-${name}-`));
  folders.push(folder);
  return folder;
}

/** Waits until `look` gives something; throws what `why` says where that takes longer than 20 s. */
export async function eventually<T>(what: string, look: () => T | Promise<T>, timeoutMs = 20_000): Promise<NonNullable<T>> {
  const end = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found) return found;
      last = found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) throw new Error(`waited in vain: ${what} (last: ${String(last)})`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
