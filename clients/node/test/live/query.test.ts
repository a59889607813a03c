import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { BearError } from "bear";
import { KINDS } from "../support/clients.js";
import { eventually } from "../support/processes.js";
import type { BearServer } from "../support/server.js";
import { bearOf, ONE, shop } from "../support/shop.js";

let server: BearServer;

before(async () => {
  server = await shop();
});

for (const [number, kind] of KINDS.entries()) {
  describe(kind.name, () => {
    it("a query's result comes parsed, from Postgres and from the cache", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const id = 100 + number;
      for (let round = 0; round < 3; round++) {
        assert.deepEqual(await bear.query("product", id), { id, name: `Product ${id}`, price: id });
      }
      assert.equal(await bear.query("product", 100_000), null);
      await close();
    });

    it("an error of the server has its code", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      await assert.rejects(bear.query("product", "slow", "soon", 1), (error) => {
        assert.ok(error instanceof BearError);
        assert.equal(error.code, "ERR");
        assert.match(error.message, /^ms must be an integer/);
        return true;
      });
      await close();
    });

    it("a miss that Postgres refuses has its code, by a message and on the pool", async () => {
      await server.sql("ALTER TABLE product RENAME COLUMN category TO kind");
      try {
        for (const noblock of [true, false]) {
          const { bear, close } = await bearOf(kind, server.url, { noblock });
          await bear.query("product", 1);
          await assert.rejects(bear.query("product", "in", "nothing"), { code: "QUERY" });
          await close();
        }
      } finally {
        await server.sql("ALTER TABLE product RENAME COLUMN kind TO category");
      }
    });

    it("a result that is too large for a message comes, too", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      await bear.query("product", 1);
      const [row] = (await bear.query("product", "large", 40_000 + number)) as { text: string }[];
      assert.equal(row?.text.length, 40_000 + number);
      await close();
    });

    it("many calls are one command, each with its result or its error", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      await bear.query("product", 1);
      const found = await bear.mquery<{ id: number } | null>("product", [[1], [200 + number], ["no", "such"], [100_000]]);
      assert.equal((found[0] as { id: number }).id, 1);
      assert.equal((found[1] as { id: number }).id, 200 + number);
      assert.ok(found[2] instanceof BearError && found[2].code === "ERR");
      assert.equal(found[3], null);
      await close();
    });

    it("who asks is told whose answer it is", async () => {
      for (const noblock of [true, false]) {
        const { bear, close } = await bearOf(kind, server.url, { noblock });
        const sources: string[] = [];
        const ask = (words: (string | number)[], options = {}) => bear.query("product", words, { onAnswer: (source) => sources.push(source), ...options });
        await bear.invalidate.row("product", 5);
        for (let twice = 0; twice < 2; twice++) await ask([5]);
        await ask([5], { fresh: true });
        await bear.invalidate.all("product");
        for (let twice = 0; twice < 2; twice++) await ask(["large", 30_000]); // more than a message holds
        await assert.rejects(ask(["slow", "soon", 1], { fallback: () => 1 }));
        assert.deepEqual(sources, ["postgres", "cache", "postgres", "postgres", "cache"]);
        await close();
      }
    });

    it("FRESH fetches", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      await bear.query("product", 3);
      await server.sql(`UPDATE product SET price = ${number} + 0.5 WHERE id = 3`);
      assert.equal((await bear.query<{ price: number }>("product", [3], { fresh: true })).price, number + 0.5);
      await close();
    });

    it("each kind of invalidation drops what it names", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const cached = async (...words: (string | number)[]) => (await bear.explain("product", ...words))["cached"];
      const isCached = async (...words: (string | number)[]) => [1, true].includes((await cached(...words)) as never);
      for (const [drop, count] of [
        [() => bear.invalidate.row("product", 4), 1],
        [() => bear.invalidate.changed("product", 4), 1],
        [() => bear.invalidate.image("product", { id: 4 }), 1],
        [() => bear.invalidate.tag("product", "id:4"), 1],
        [() => bear.invalidate.query("product", 4), 1],
        [() => bear.invalidate.pattern("product", "4"), 1],
        [() => bear.invalidate.all("product"), undefined],
      ] as const) {
        await bear.invalidate.all("product");
        await bear.query("product", 4);
        assert.equal(await isCached(4), true);
        const dropped = await drop();
        if (count !== undefined) assert.equal(dropped, count, String(drop));
        else assert.ok(dropped >= 1);
        assert.equal(await isCached(4), false);
      }
      await close();
    });
  });
}

describe("one connection for all", () => {
  it("misses take no connections while the listener hears", async () => {
    const { bear, close } = await bearOf(ONE, server.url, { name: "listener-test" });
    await bear.query("product", 1);
    await eventually("it listens", async () => (await server.send("PUBSUB NUMPAT")).startsWith(":1"));
    await bear.query("product", 300);
    const clients = async () => (await server.send("CLIENT LIST")).split("\n").filter((line) => line.includes("addr=")).length;
    const before = await clients();
    const found = await Promise.all(Array.from({ length: 8 }, (_, at) => bear.query<{ number: number }[]>("product", "slow", 150, 1000 + at)));
    assert.deepEqual(found.map(([row]) => row?.number), Array.from({ length: 8 }, (_, at) => 1000 + at));
    assert.equal(await clients(), before);
    await close();
  });

  it("a listener that is cut off in the midst of a miss costs its caller nothing", async () => {
    const { bear, close } = await bearOf(ONE, server.url);
    await bear.query("product", 1);
    await eventually("it listens", async () => !(await server.send("PUBSUB NUMPAT")).startsWith(":0"));
    const found = bear.query<{ number: number }[]>("product", "slow", 400, 2000);
    await eventually("the miss is under way", async () => /fills_running:[1-9]|fills:[1-9]/.test(await server.send("INFO bear")));
    await server.send("CLIENT KILL TYPE pubsub");
    assert.equal((await found)[0]?.number, 2000);
    await close();
  });
});
