// What the package exports, to both kinds of modules.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { it } from "node:test";
import * as bear from "bear";
import { Cluster as Cluster6 } from "ioredis";
import { Cluster as Cluster5 } from "ioredis5";
import { createCluster as createCluster6, createSentinel as createSentinel6 } from "redis";
import { createCluster as createCluster5, createSentinel as createSentinel5 } from "redis5";

const require = createRequire(import.meta.url);
const { exports } = require("bear/package.json") as { exports: Record<string, { import: { default: string }; require: { default: string } } | string> };
const root = dirname(require.resolve("bear/package.json"));

for (const [subpath, conditions] of Object.entries(exports)) {
  // A subpath that is not built yet is named already.
  if (typeof conditions === "string" || !existsSync(join(root, conditions.import.default))) continue;
  const name = join("bear", subpath);
  it(`${name}: CommonJS has what ES modules have, and types for both`, async () => {
    const imported = (await import(name)) as object;
    const required = require(name) as object;
    assert.ok(Object.keys(imported).length > 0);
    assert.deepEqual(Object.keys(required).filter((each) => each !== "__esModule").sort(), Object.keys(imported).filter((each) => each !== "default").sort());
    for (const kind of [conditions.import, conditions.require]) assert.ok(existsSync(join(root, kind.default.replace(/js$/, "d.ts"))));
  });
}

it("a client that is none of the known ones is refused", () => {
  assert.throws(() => new bear.Bear({} as never), /a Redis or Cluster of ioredis/);
  const sentinel = { name: "jobs", sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }] };
  assert.throws(() => new bear.Bear(createSentinel5(sentinel) as never), /createSentinel of redis 5 makes no connections/);
  for (const client of [
    new Cluster6([{ port: 1 }], { lazyConnect: true }), new Cluster5([{ port: 1 }], { lazyConnect: true }),
    createCluster6({ rootNodes: [] }), createCluster5({ rootNodes: [] }), createSentinel6(sentinel),
  ]) {
    assert.throws(() => new bear.Bear(client as never, { l1: { max: 10, ttl: 1000 } }), /not in a cluster, nor by createSentinel/, client.constructor.name);
  }
  assert.throws(() => new bear.Bear({ client: "ioredis" } as never, { name: "no spaces" }), /a name has/);
});

it("errors are told apart by their code", () => {
  class ReplyError extends Error {}
  const error = bear.toBearError(new ReplyError("DUPLICATE 17-0 was enqueued with this UNIQUE key"));
  assert.ok(error instanceof bear.DuplicateError && error.id === "17-0" && bear.hasCode(error, "DUPLICATE"));
  const plain = new Error("ECONNREFUSED is no code");
  assert.equal(bear.toBearError(plain), plain);
  assert.equal(bear.hasCode(plain, "ERR"), false);
});
