// Runs the compiled tests whose path holds one of the words given, or all of them: `npm test -- live/query`.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const options = process.argv.slice(2).filter((word) => word.startsWith("--"));
const files = readdirSync(join(root, ".test"), { recursive: true })
  .filter((file) => file.endsWith(".test.js") && (words.length === 0 || words.some((word) => file.includes(word))))
  .sort();
if (files.length === 0) {
  console.error(`no test file's path holds ${words.join(" or ")}`);
  process.exit(1);
}
const { status } = spawnSync(
  process.execPath,
  ["--enable-source-maps", "--test", "--test-timeout=200000", "--test-concurrency=2", ...options, ...files.map((file) => join(root, ".test", file))],
  { stdio: "inherit", cwd: root },
);
process.exit(status ?? 1);
