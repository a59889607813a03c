// Builds the package: ES modules, CommonJS (told apart by a package.json of one line), and the tests.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
const compile = (project) => execFileSync(process.execPath, [tsc, "-p", join(root, project)], { stdio: "inherit" });

try {
  for (const folder of ["dist", ".test"]) rmSync(join(root, folder), { recursive: true, force: true });
  compile("tsconfig.json");
  compile("tsconfig.cjs.json");
  mkdirSync(join(root, "dist/cjs"), { recursive: true });
  writeFileSync(join(root, "dist/cjs/package.json"), '{"type":"commonjs"}\n');
  compile("tsconfig.test.json"); // they import the package by its name, so it has to be there
} catch {
  process.exit(1); // tsc has said why
}
