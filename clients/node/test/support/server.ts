// A redis-server with the module, of the test's own, before a database of its own where the catalog needs one.
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Postgres } from "./postgres.js";
import { Program, eventually, freePort, newFolder } from "./processes.js";

/** The repository, from wherever this was compiled to. */
export const root = repository(dirname(fileURLToPath(import.meta.url)));

function repository(folder: string): string {
  if (existsSync(join(folder, "Cargo.toml"))) return folder;
  const above = dirname(folder);
  if (above === folder) throw new Error("the tests are not within the repository");
  return repository(above);
}

let copied: string | undefined;

/** A copy of the module, which a build that runs meanwhile does not change. */
export function modulePath(): string {
  if (copied) return copied;
  const target = process.env["CARGO_TARGET_DIR"] ?? join(root, "target");
  const candidates = [process.env["BEAR_TEST_MODULE"], join(target, "release/libbear.so"), join(target, "debug/libbear.so")];
  const found = candidates.find((each) => each && existsSync(each));
  if (!found) throw new Error(`no module at ${candidates.filter(Boolean).join(" or ")}: cargo build, or BEAR_TEST_MODULE`);
  copied = join(newFolder("module"), "libbear.so");
  copyFileSync(found, copied);
  return copied;
}

export interface ServerOptions {
  /** The text of a catalog, or the path of one below the repository. */
  catalog: string;
  /** Statements, or paths of files below the repository that hold some; without it there is no Postgres. */
  schema?: string[];
  /** Further words for redis-server: `["--bear.events", "all"]`. */
  settings?: string[];
}

let shared: Promise<Postgres> | undefined;

/** The Postgres of this process, started when first asked for. */
export function postgres(): Promise<Postgres> {
  return (shared ??= Postgres.start());
}

function text(given: string, suffix: string): string {
  return given.endsWith(suffix) && !given.includes("\n") ? readFileSync(join(root, given), "utf8") : given;
}

export class BearServer {
  private program: Program | undefined;

  private constructor(
    readonly port: number,
    /** What is in it goes with the process. */
    readonly folder: string,
    private readonly words: string[],
    private readonly database: { name: string; url: string } | undefined,
  ) {}

  /** `of`: one whose database this one shares. */
  static async start(options: ServerOptions, of?: BearServer): Promise<BearServer> {
    const folder = newFolder("redis");
    writeFileSync(join(folder, "catalog.toml"), text(options.catalog, ".toml"));
    const schema = options.schema?.map((each) => text(each, ".sql")).join(";\n");
    const database = of?.database ?? (schema === undefined ? undefined : await (await postgres()).database(schema));
    const server = new BearServer(await freePort(), folder, options.settings ?? [], database);
    await server.startAgain();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts it on the same port and data; after `stop`. */
  async startAgain(): Promise<void> {
    const env = { ...process.env };
    delete env["BEAR_POSTGRES_URL"];
    if (this.database) env["BEAR_POSTGRES_URL"] = this.database.url;
    this.program = await Program.start(
      [
        process.env["BEAR_TEST_SERVER"] ?? "redis-server",
        "--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
        "--loadmodule", modulePath(), "--bear.catalog", join(this.folder, "catalog.toml"), ...this.words,
      ],
      { signal: "TERM", log: join(this.folder, "log"), env },
    );
    await eventually(`redis-server answers (its log is ${join(this.folder, "log")})`, async () => (await this.send("PING")) === "+PONG");
    if (this.database) await eventually("Postgres has checked the catalog", async () => (await this.send("BEAR.CATALOG")).includes("\nyes\r"));
  }

  /** Ends it, by SIGTERM or as told: "KILL". */
  async stop(signal?: string): Promise<void> {
    await this.program?.end(signal);
    this.program = undefined;
  }

  /** The process, for SIGSTOP. */
  get pid(): number {
    if (!this.program) throw new Error("it does not run");
    return this.program.pid;
  }

  /** What the server said. */
  log(): string {
    return readFileSync(join(this.folder, "log"), "utf8");
  }

  /** Statements, in its database. */
  async sql(statements: string): Promise<string> {
    if (!this.database) throw new Error("this server has no database");
    return (await postgres()).sql(statements, this.database.name);
  }

  /** One inline command on a connection of its own: the bytes of the reply, for what a client under test must not do. */
  async send(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.port, "127.0.0.1", () => socket.write(`${command}\r\nQUIT\r\n`));
      let reply = "";
      socket.setEncoding("utf8");
      socket.on("data", (data: string) => (reply += data));
      socket.on("error", reject);
      socket.on("close", () => resolve(reply.replace(/\+OK\r\n$/, "").trimEnd()));
    });
  }
}

/** Ends the Postgres of this process, where one was started. */
export async function stopPostgres(): Promise<void> {
  if (shared) await (await shared).stop();
  shared = undefined;
}
