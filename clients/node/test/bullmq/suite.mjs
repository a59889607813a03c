// Runs BullMQ's own tests against the backend: node suite.mjs <checkout of taskforcesh/bullmq> [--json] [file …]
//
// Nothing of BullMQ is kept here: its sources and tests are those of the checkout, whose packages are installed where they are
// missing. The module is found as by the other tests (BEAR_TEST_MODULE, else target/release or target/debug).
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { newFolder } from "../../.test/support/processes.js";
import { BearServer } from "../../.test/support/server.js";

const CATALOG = `
[bullmq]
open = true
tenant = "text"
claim = { attempts = 100, keep = 0, keep_failed = 0 }
`;

// What is of one client or datastore (its adapter, its connections, its scripts, its keys), or of BullMQ as it is built.
const OTHERS = /^(adapter-conformance|bun-|child-pool|child_stdio|cluster|connection|ioredis-client|node-redis|postgres|sandboxed_process|script_loader|scripts|valkey)|\.redis\.test/;

const words = process.argv.slice(2);
const json = words.includes("--json");
const [given, ...files] = words.filter((word) => !word.startsWith("--"));
if (!given || !existsSync(join(given, "src/interfaces/queue-backend.ts"))) {
  console.error("suite.mjs takes a checkout of BullMQ 6 (make test-bullmq BULLMQ=path)");
  process.exit(2);
}
const checkout = resolve(given);
const version = (() => {
  try {
    return execFileSync("git", ["-C", checkout, "describe", "--tags", "--match", "v[0-9]*"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return JSON.parse(readFileSync(join(checkout, "package.json"), "utf8")).version;
  }
})();
const at = { cwd: checkout, stdio: ["ignore", 2, 2] };
if (!existsSync(join(checkout, "node_modules/vitest"))) {
  execFileSync("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"], at);
}
if (!existsSync(join(checkout, "src/scripts"))) {
  execFileSync("npm", ["run", "-s", "generate:raw:scripts"], at);
  execFileSync("npm", ["run", "-s", "transform:commands"], at);
}

const tests = files.length > 0 ? files : readdirSync(join(checkout, "tests")).filter((file) => file.endsWith(".test.ts") && !OTHERS.test(file));
const server = await BearServer.start({ catalog: CATALOG });
const report = join(newFolder("bullmq-suite"), "report.json");
const vitest = spawn(
  process.execPath,
  [
    join(checkout, "node_modules/vitest/vitest.mjs"), "run", "--config", fileURLToPath(new URL("suite.config.mjs", import.meta.url)),
    "--reporter=json", `--outputFile=${report}`, ...tests.map((file) => `tests/${basename(file)}`),
  ],
  { ...at, env: { ...process.env, BULLMQ_CHECKOUT: checkout, REDIS_PORT: String(server.port) } },
);
await new Promise((resolve) => vitest.on("exit", resolve));
await server.stop();

const rows = JSON.parse(readFileSync(report, "utf8"))
  .testResults.map(({ name, message, assertionResults }) => {
    const of = (status) => assertionResults.filter((test) => test.status === status);
    const [passed, failed] = [of("passed").length, of("failed")];
    return {
      file: basename(name),
      passed,
      failed: failed.length,
      skipped: assertionResults.length - passed - failed.length,
      ...(assertionResults.length === 0 && message ? { error: message } : {}),
      failures: failed.map((test) => ({
        test: [...test.ancestorTitles, test.title].join(" > "),
        why: (test.failureMessages[0] ?? "").split("\n")[0],
      })),
    };
  })
  .sort((a, b) => (a.file < b.file ? -1 : 1));
const sum = (field) => rows.reduce((total, row) => total + row[field], 0);
const total = { file: "all", passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") };

if (json) {
  console.log(JSON.stringify({ bullmq: version, total, files: rows }, null, 2));
} else {
  const line = (row) => {
    const share = row.passed + row.failed > 0 ? `${Math.round((100 * row.passed) / (row.passed + row.failed))} %` : "";
    return `| ${row.file.padEnd(32)} | ${[row.passed, row.failed, row.skipped].map((n) => String(n).padStart(7)).join(" | ")} | ${share.padStart(6)} |`;
  };
  console.log(`BullMQ ${version}\n`);
  console.log(`| ${"file".padEnd(32)} |  passed |  failed | skipped |        |\n|${"-".repeat(34)}|--------:|--------:|--------:|-------:|`);
  for (const row of [...rows, total]) console.log(line(row));
  for (const row of rows) {
    if (row.error) console.log(`\n${row.file}: ${row.error}`);
    for (const { test, why } of row.failures) console.log(`\n${row.file}: ${test}\n    ${why}`);
  }
}
process.exit(rows.every((row) => row.failed === 0 && !row.error) ? 0 : 1);
