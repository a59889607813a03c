// Nothing is held up behind a miss, or behind what is done to all jobs of a state: hits beside them, on one connection.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { Bear } from "bear";
import type { BearServer } from "../support/server.js";
import { bearOf, percentile, shop, TWO } from "../support/shop.js";

let server: BearServer;
let misses = 0;

before(async () => {
  server = await shop();
});

async function hits(bear: Bear, ms: number): Promise<number[]> {
  const times: number[] = [];
  const end = performance.now() + ms;
  for (let at = 0; performance.now() < end; at++) {
    const begun = performance.now();
    await bear.query("product", 1 + (at % 4));
    times.push(performance.now() - begun);
  }
  return times;
}

async function hitsBesideMisses(bear: Bear, ms: number): Promise<number[]> {
  const missing = Array.from({ length: 4 }, async () => {
    const end = performance.now() + ms;
    while (performance.now() < end) await bear.query("product", "slow", 500, ++misses);
  });
  const times = await hits(bear, ms);
  await Promise.all(missing);
  return times;
}

for (const kind of TWO) {
  for (const noblock of [true, false]) {
    describe(`${kind.name}, misses by ${noblock ? "NOBLOCK" : "the pool"}`, () => {
      it("the 99th percentile of hits beside misses is at most 1.2 times that without", async (test) => {
        const { bear, close } = await bearOf(kind, server.url, { noblock });
        await hits(bear, 300);
        // Others use this machine: what disturbs makes a round worse, and never better.
        const rounds: { without: number; beside: number }[] = [];
        for (let round = 0; round < 6; round++) {
          const without = percentile(await hits(bear, 800), 0.99);
          const beside = percentile(await hitsBesideMisses(bear, 800), 0.99);
          rounds.push({ without, beside });
          if (beside <= without * 1.2 && round >= 1) break;
        }
        const best = rounds.reduce((one, two) => (two.beside / two.without < one.beside / one.without ? two : one));
        test.diagnostic(`p99 of a hit: ${best.without.toFixed(3)} ms without, ${best.beside.toFixed(3)} ms beside misses of 500 ms`);
        assert.ok(best.beside <= best.without * 1.2, JSON.stringify(rounds));
        await close();
      });
    });
  }
}

for (const kind of TWO) {
  it(`${kind.name}: a command is answered before one that removes 20,000 jobs`, async () => {
    const { bear, close } = await bearOf(kind, server.url);
    await bear.clean("mail", "waiting"); // the connection of the pool is there
    const text = "x".repeat(100);
    for (let at = 0; at < 20; at++) await Promise.all(Array.from({ length: 1000 }, (_, n) => bear.enqueue("mail", "SEND", { to: `${at} ${n}`, subject: text })));
    const ended: string[] = [];
    const cleaning = bear.clean("mail", "waiting").then((count) => {
      ended.push("clean");
      return count;
    });
    await bear.stats("mail");
    ended.push("stats");
    assert.equal(await cleaning, 20_000);
    assert.deepEqual(ended, ["stats", "clean"]);
    await close();
  });
}
