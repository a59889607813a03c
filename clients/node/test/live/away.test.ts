// Redis or Postgres away: the fallback answers, and getOrSet computes.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isConnectionError } from "bear";
import { KINDS } from "../support/clients.js";
import { eventually } from "../support/processes.js";
import { postgres } from "../support/server.js";
import { bearOf, shop, TWO } from "../support/shop.js";

for (const kind of KINDS) {
  describe(kind.name, () => {
    it("Redis is killed: calls fall back at once, and go to Redis when it is there again", async () => {
      const server = await shop({ schema: ["clients/node/test/catalogs/shop.sql"] });
      const told: unknown[] = [];
      const { bear, close } = await bearOf(kind, server.url, {
        fallback: ({ space, words, error }) => {
          told.push(error);
          return { fallback: `${space} ${words.join(" ")}` };
        },
      });
      await bear.query("product", 1);
      await server.stop("KILL");
      await eventually("the client knows", () => !bear.connection.isReady);
      const begun = performance.now();
      for (let round = 0; round < 20; round++) assert.deepEqual(await bear.query("product", 1), { fallback: "product 1" });
      let source: string | undefined;
      await bear.query("product", [1], { onAnswer: (told) => (source = told) });
      assert.equal(source, "fallback");
      assert.equal(await bear.getOrSet("page", ["shelf", "a"], () => "computed"), "computed");
      assert.ok(performance.now() - begun < 500, "none of them waits for Redis");
      assert.ok(told.every(isConnectionError), String(told[0]));
      await server.startAgain();
      await eventually("it is asked again", async () => "name" in (await bear.query<object>("product", 1)));
      await close();
      await server.stop();
    });

  });
}

for (const kind of TWO) {
  describe(`away, ${kind.name}`, () => {
    it("a call that is under way when Redis is killed falls back", async () => {
      const server = await shop();
      const { bear, close } = await bearOf(kind, server.url, { fallback: () => "fallback" });
      await bear.query("product", 1);
      const found = bear.query("product", "slow", 5000, 1);
      await eventually("the fetch is under way", async () => /fills_running:[1-9]|fills:[1-9]/.test(await server.send("INFO bear")));
      await server.stop("KILL");
      assert.equal(await found, "fallback");
      await close();
    });

    it("a Redis that answers nothing: after `answerTimeout`", async () => {
      const server = await shop();
      const { bear, close } = await bearOf(kind, server.url, { fallback: () => "fallback", answerTimeout: 100 });
      await bear.query("product", 1);
      process.kill(server.pid, "SIGSTOP");
      try {
        assert.equal(await bear.query("product", 1), "fallback");
        assert.equal(await bear.getOrSet("page", ["shelf", "a"], () => "computed"), "computed");
      } finally {
        process.kill(server.pid, "SIGCONT");
      }
      await eventually("it answers again", async () => (await bear.query("product", 1)) !== "fallback");
      await close();
      await server.stop();
    });
  });
}

describe("Postgres is away", () => {
  it("misses fall back, hits do not; without a fallback the code is POSTGRES", async () => {
    const server = await shop();
    const kind = KINDS[1] as (typeof KINDS)[0];
    const { bear } = await bearOf(kind, server.url, { fallback: ({ error }) => error });
    await bear.query("product", 1);
    await (await postgres()).stop();
    try {
      assert.deepEqual(await bear.query<{ id: number }>("product", 1).then(({ id }) => id), 1);
      const plain = (await bearOf(kind, server.url)).bear;
      const error = await eventually("misses fail", async () => {
        const found = await bear.query("product", 700);
        return found instanceof Error ? found : undefined;
      });
      assert.equal((error as { code?: string }).code, "POSTGRES");
      await assert.rejects(plain.query("product", 701), { code: "POSTGRES" });
    } finally {
      await (await postgres()).startAgain();
    }
  });
});
