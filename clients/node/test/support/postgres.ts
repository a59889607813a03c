// A private Postgres cluster on a free port, as the user postgres where the tests run as root, which it refuses.
import { execFile, execFileSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Program, eventually, freePort, newFolder } from "./processes.js";

/** The folder of `initdb` and `postgres`: BEAR_TEST_POSTGRES_BIN, or Debian's with the highest version. */
function programs(): string {
  const chosen = process.env["BEAR_TEST_POSTGRES_BIN"];
  if (chosen) return chosen;
  const versions = existsSync("/usr/lib/postgresql") ? readdirSync("/usr/lib/postgresql").map(Number) : [];
  const version = versions.sort((a, b) => b - a).find((each) => existsSync(`/usr/lib/postgresql/${each}/bin/initdb`));
  if (version === undefined) throw new Error("there is no Postgres below /usr/lib/postgresql; scripts/setup.sh installs it");
  return `/usr/lib/postgresql/${version}/bin`;
}

/** Words before a program's that make it run as another user than root. */
function asServer(): { words: string[]; uid: number; gid: number } {
  if (process.getuid?.() !== 0) return { words: [], uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  for (const name of ["postgres", "nobody"]) {
    const line = readFileSync("/etc/passwd", "utf8").split("\n").find((each) => each.startsWith(`${name}:`));
    const [, , uid, gid] = line?.split(":") ?? [];
    if (uid && gid) return { words: ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups"], uid: Number(uid), gid: Number(gid) };
  }
  throw new Error("no user to run Postgres as");
}

export class Postgres {
  private program: Program | undefined;
  private databases = 0;

  private constructor(
    readonly port: number,
    private readonly folder: string,
    private readonly bin: string,
  ) {}

  static async start(): Promise<Postgres> {
    const folder = newFolder("postgres");
    const user = asServer();
    const bin = programs();
    chmodSync(folder, 0o700);
    if (user.words.length > 0) chownSync(folder, user.uid, user.gid);
    const [program, ...words] = [
      ...user.words, `${bin}/initdb`, "--no-sync", "--auth=trust", "--no-locale", "--encoding=UTF8", "--username=postgres", "--pgdata", `${folder}/data`,
    ];
    execFileSync(program ?? "", words, { cwd: "/", stdio: ["ignore", "ignore", "pipe"] });
    const postgres = new Postgres(await freePort(), folder, bin);
    await postgres.startAgain();
    return postgres;
  }

  async startAgain(): Promise<void> {
    const log = join(this.folder, "log");
    writeFileSync(log, "", { flag: "a" });
    const settings = ["listen_addresses=127.0.0.1", "max_connections=200", "shared_buffers=32MB", "fsync=off", "wal_level=logical"];
    this.program = await Program.start(
      [
        ...asServer().words, `${this.bin}/postgres`, "-D", `${this.folder}/data`, "-p", String(this.port), "-k", `${this.folder}/data`,
        ...settings.flatMap((setting) => ["-c", setting]),
      ],
      { signal: "QUIT", log },
    );
    await eventually("Postgres answers", () => this.sql("SELECT 1", "postgres"));
  }

  async stop(): Promise<void> {
    await this.program?.end();
  }

  /** A new database with what these statements make; its URL and name. */
  async database(schema: string): Promise<{ name: string; url: string }> {
    const name = `test_${++this.databases}`;
    await this.sql(`CREATE DATABASE ${name}`, "postgres");
    await this.sql(schema, name);
    return { name, url: `postgres://postgres@127.0.0.1:${this.port}/${name}` };
  }

  /** Runs statements; what they return, fields divided by `|`. */
  async sql(text: string, database: string): Promise<string> {
    const words = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", String(this.port), "-U", "postgres", "-d", database];
    const running = promisify(execFile)(`${this.bin}/psql`, words, { maxBuffer: 1 << 26 });
    running.child.stdin?.on("error", () => {}); // psql ends unheard where Postgres is not there yet
    running.child.stdin?.end(text);
    return (await running).stdout.trim();
  }
}
