// The examples of docs/clients/ are compiled as they stand there and run; what they print is what the comments behind `=>` say.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { before, describe, it } from "node:test";
import { promisify } from "node:util";
import { root, type BearServer } from "../support/server.js";
import { shop } from "../support/shop.js";

const PAGES = ["node", "nestjs"];
const PREAMBLE = /```ts\n([\s\S]*?)```/;
const EXAMPLE = /<!-- example -->\n```ts\n([\s\S]*?)```/g;

const folder = join(root, "clients/node/.test/book");
const examples = PAGES.flatMap((page) => {
  const text = readFileSync(join(root, `docs/clients/${page}.md`), "utf8");
  const [, preamble] = PREAMBLE.exec(text) as unknown as [string, string];
  return [...text.matchAll(EXAMPLE)].map(([, code = ""], at) => ({ name: `${page}-${at + 1}`, code, preamble }));
});

let server: BearServer;

before(async () => {
  server = await shop();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const { name, code, preamble } of examples) {
    const end = "\nawait bear.close();\nredis.disconnect();\n";
    writeFileSync(join(folder, `${name}.ts`), preamble + code + end);
  }
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
  const options = { compilerOptions: { rootDir: folder, outDir: folder, sourceMap: false, declaration: false, noUnusedLocals: false }, extends: "../../tsconfig.json", include: ["*.ts"], exclude: [] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(options));
  await promisify(execFile)(process.execPath, [tsc, "-p", folder]).catch(({ stdout }: { stdout: string }) => assert.fail(stdout));
});

describe("examples of the book", () => {
  for (const { name, code } of examples) {
    it(name, async () => {
      const expected = [...code.matchAll(/\/\/ => (.*)$/gm)].map(([, text]) => text);
      const running = promisify(execFile)(process.execPath, [join(folder, `${name}.js`)], { env: { ...process.env, REDIS_URL: server.url }, timeout: 20_000 });
      assert.deepEqual((await running).stdout.trimEnd().split("\n").filter(Boolean), expected);
    });
  }
});
