// Copies in the process: what they serve, and that no copy outlives what it is a copy of.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Bear } from "bear";
import { KINDS, type Kind } from "../support/clients.js";
import { eventually } from "../support/processes.js";
import { Proxy } from "../support/proxy.js";
import type { BearServer } from "../support/server.js";
import { bearOf, ONE, percentile, shop, TWO } from "../support/shop.js";

let server: BearServer;

before(async () => {
  server = await shop();
});

/** Asks until a copy answers. */
async function copied(bear: Bear, ...words: (string | number)[]): Promise<void> {
  await eventually("there is a copy", async () => {
    const { hits } = bear.l1Stats() ?? { hits: 0 };
    await bear.query("product", ...words);
    return (bear.l1Stats()?.hits ?? 0) > hits;
  });
}

for (const kind of TWO) {
  it(`who asks is told that a copy answered, ${kind.name}`, async () => {
    const { bear, close } = await bearOf(kind, server.url, { l1: true });
    await copied(bear, 6);
    let source: string | undefined;
    await bear.query("product", [6], { onAnswer: (told) => (source = told) });
    assert.equal(source, "copy");
    await close();
  });
}

const name = async (bear: Bear, id: number) => (await bear.query<{ name: string }>("product", id)).name;

for (const [number, kind] of KINDS.entries()) {
  describe(kind.name, () => {
    it("a hit is served from the process, and dropped when Redis drops it, by whatever", async () => {
      const { bear, close } = await bearOf(kind, server.url, { l1: true });
      const id = 800 + number;
      for (const drop of [
        () => server.send(`BEAR.INVALIDATE product ROW ${id}`),
        () => server.send(`BEAR.INVALIDATE product ALL`),
        async () => void (await bear.wait("product", await bear.enqueue("product", "SET_PRICE", { id, price: 1 }))),
        () => server.send(`DEL product:${id}`),
        () => server.send("FLUSHALL"),
      ]) {
        await copied(bear, id);
        const size = bear.l1Stats()?.size ?? 0;
        assert.ok(size > 0);
        await drop();
        await eventually(`the copy goes: ${String(drop)}`, () => (bear.l1Stats()?.size ?? 0) < size);
      }
      await copied(bear, id);
      assert.ok(Object.isFrozen(await bear.query("product", id)));
      await close();
    });

    it("two spellings of a call are both dropped; values are copied, too", async () => {
      const { bear, close } = await bearOf(kind, server.url, { l1: true });
      await copied(bear, "in", "lamps,chairs");
      await copied(bear, "in", "chairs,lamps");
      assert.equal(bear.l1Stats()?.size, 2);
      await server.send("BEAR.INVALIDATE product TAG category:lamps");
      await eventually("both go", () => bear.l1Stats()?.size === 0);
      const words = ["shelf", `copy-${number}`];
      await eventually("there is a copy", async () => {
        await bear.getOrSet("page", words, () => ({ value: 1 }));
        return bear.l1Stats()?.size === 1;
      });
      await server.send(`BEAR.INVALIDATE page TAG shelf:copy-${number}`);
      await eventually("it goes", () => bear.l1Stats()?.size === 0);
      assert.deepEqual(await bear.getOrSet("page", words, () => ({ value: 2 })), { value: 2 });
      await close();
    });

    it("when the connection that hears breaks, all copies go, and there are none until another one hears", async () => {
      const proxy = await Proxy.start(server.port);
      const { bear, close } = await bearOf(kind, proxy.url, { l1: true });
      await copied(bear, 1);
      for (const which of ["invalidate", "TRACKING"]) {
        await copied(bear, 1);
        proxy.wire(which).cut();
        await eventually("the copies are gone", () => bear.l1Stats()?.size === 0);
        await copied(bear, 1);
      }
      await close();
      proxy.stop();
    });

    it("a connection that is dead and says nothing is found by its heartbeat", async () => {
      const proxy = await Proxy.start(server.port);
      const { bear, close } = await bearOf(kind, proxy.url, { l1: { heartbeat: 100 } });
      await copied(bear, 2);
      proxy.wire("invalidate").freeze();
      const begun = performance.now();
      await server.send("BEAR.INVALIDATE product ROW 2"); // of which it does not hear
      await eventually("the copy is gone", () => bear.l1Stats()?.size === 0);
      assert.ok(performance.now() - begun < 1000);
      await copied(bear, 2);
      await close();
      proxy.stop();
    });
  });
}

async function behind(kind: Kind): Promise<{ bear: Bear; proxy: Proxy; end(): Promise<void> }> {
  const proxy = await Proxy.start(server.port);
  // By CACHED, so that a hit is one command on the connection that is held.
  const { bear, close } = await bearOf(kind, proxy.url, { l1: { heartbeat: 60_000 }, noblock: false });
  await copied(bear, 1);
  const end = async () => {
    await close();
    proxy.stop();
  };
  return { bear, proxy, end };
}

for (const [number, kind] of TWO.entries()) {
  const ids = [900, 901, 902].map((id) => id + 10 * number) as [number, number, number]; // each library its own
  describe(`two connections in any order, ${kind.name}`, () => {
    it("a reply that an invalidation has overtaken is handed out, and not kept", async () => {
      const { bear, proxy, end } = await behind(kind);
      const id = ids[0];
      await server.sql(`UPDATE product SET name = 'old' WHERE id = ${id}`);
      await bear.query("product", id); // it is cached
      const shared = proxy.wire("CACHED");
      const received = shared.received.length;
      shared.hold();
      const before = name(bear, id);
      await eventually("Redis has answered", () => shared.received.length > received);
      await server.sql(`UPDATE product SET name = 'new' WHERE id = ${id}`);
      const heard = proxy.wire("invalidate").received.length;
      await server.send(`BEAR.INVALIDATE product ROW ${id}`);
      await eventually("the invalidation was heard", () => proxy.wire("invalidate").received.slice(heard).includes(`product:${id}`));
      await new Promise((resolve) => setTimeout(resolve, 20)); // it is in this process by now: both go through its loop
      const struck = bear.l1Stats()?.struck ?? 0;
      // The key is there again, so that what would be kept is not refused because it is not.
      await (await bearOf(ONE, server.url)).bear.query("product", id);
      shared.release();
      assert.equal(await before, "old");
      await eventually("it was struck", () => (bear.l1Stats()?.struck ?? 0) > struck);
      assert.equal(await name(bear, id), "new");
      await copied(bear, id);
      assert.equal(await name(bear, id), "new");
      await end();
    });

    it("an invalidation while the copy's key is looked up: not kept", async () => {
      const { bear, proxy, end } = await behind(kind);
      const id = ids[1];
      await bear.query("product", id); // a miss
      const lookup = proxy.wire("TRACKING");
      lookup.hold();
      await bear.query("product", id); // a hit, whose key is looked up now: what comes of that is held
      await eventually("its key is looked up", () => lookup.sent.includes(`\r\n${id}\r\n`));
      await server.sql(`UPDATE product SET name = 'newer' WHERE id = ${id}`);
      await server.send(`BEAR.INVALIDATE product ROW ${id}`);
      await (await bearOf(ONE, server.url)).bear.query("product", id); // its key is there again
      await eventually("it is heard", () => proxy.wire("invalidate").received.includes(`product:${id}`));
      const size = bear.l1Stats()?.size;
      lookup.release();
      await eventually("it has been looked up", () => lookup.sent.includes(`product:${id}\r\n`) && lookup.received.endsWith(":1\r\n"));
      await new Promise((resolve) => setTimeout(resolve, 20)); // a copy would be there by now
      assert.equal(bear.l1Stats()?.size, size);
      assert.equal(await name(bear, id), "newer");
      await copied(bear, id);
      assert.equal(await name(bear, id), "newer");
      await end();
    });

    it("an invalidation that is late finds the copy: it is served until then, and not after", async () => {
      const { bear, proxy, end } = await behind(kind);
      const id = ids[2];
      await copied(bear, id);
      const ear = proxy.wire("invalidate");
      ear.hold();
      await server.sql(`UPDATE product SET name = 'after' WHERE id = ${id}`);
      await server.send(`BEAR.INVALIDATE product ROW ${id}`);
      assert.notEqual(await name(bear, id), "after");
      ear.release();
      await eventually("it is dropped", async () => (await name(bear, id)) === "after");
      await end();
    });

    it("what is invalidated before a space's prefix is heard makes no copy of what came before", async () => {
      const { bear, proxy, end } = await behind(kind);
      const words = ["shelf", `prefix-${kind.name.replaceAll(/\W/g, "")}`];
      await bear.put("page", words, "old");
      await bear.getOrSet("page", words, () => "never"); // the first hit of this space: its prefix is asked for
      await bear.put("page", words, "new");
      await eventually("the newer one is there", async () => (await bear.getOrSet("page", words, () => "never")) === "new");
      await eventually("it is copied", () => (bear.l1Stats()?.size ?? 0) > 1 || void bear.getOrSet("page", words, () => "never"));
      assert.equal(await bear.getOrSet("page", words, () => "never"), "new");
      assert.ok(proxy.wire("TRACKING").sent.includes("page:"));
      await end();
    });
  });
}

describe("copies", () => {
  it("a large removal takes effect at once, before its keys are gone", async () => {
    const { bear, close } = await bearOf(ONE, server.url, { l1: { max: 2000 } });
    await Promise.all(Array.from({ length: 1500 }, (_, at) => bear.query("product", at + 1)));
    await eventually("there are copies", async () => {
      for (let at = 1; at <= 1500; at++) await bear.query("product", at);
      return (bear.l1Stats()?.size ?? 0) > 1000;
    });
    const begun = performance.now();
    await server.send("BEAR.INVALIDATE product ALL");
    await eventually("all go", () => bear.l1Stats()?.size === 0);
    assert.ok(performance.now() - begun < 1000);
    assert.ok((bear.l1Stats()?.emptied ?? 0) > 0, "by the tombstone, at once");
    await close();
  });

  it("no more than `max`, and those that are hit stay", async () => {
    const { bear, close } = await bearOf(ONE, server.url, { l1: { max: 10 } });
    await copied(bear, 1);
    for (let id = 2; id < 30; id++) {
      await copied(bear, id);
      await bear.query("product", 1);
      assert.ok((bear.l1Stats()?.size ?? 0) <= 10);
    }
    const { hits } = bear.l1Stats() as { hits: number };
    await bear.query("product", 1);
    assert.equal(bear.l1Stats()?.hits, hits + 1);
    await close();
  });

  it("a copy ends with its `ttl`", async () => {
    const { bear, close } = await bearOf(ONE, server.url, { l1: { ttl: 100 } });
    await copied(bear, 5);
    await eventually("it is asked again", async () => {
      const { misses } = bear.l1Stats() as { misses: number };
      await bear.query("product", 5);
      return (bear.l1Stats()?.misses ?? 0) > misses;
    });
    await close();
  });

  it("is served in under a microsecond", async (test) => {
    // In a process of its own: within a test each promise is followed by the runner.
    const script = fileURLToPath(new URL("../support/copy-speed.js", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [script, server.url]);
    const { best, median } = JSON.parse(stdout) as { best: number; median: number };
    test.diagnostic(`a hit in the process, awaited: ${median.toFixed(0)} ns, the median of 40 rounds; in the best ${best.toFixed(0)} ns`);
    assert.ok(best < 1000, stdout);
  });

  it("is dropped within milliseconds", async (test) => {
    const { bear, close } = await bearOf(ONE, server.url, { l1: true });
    const writer = (await bearOf(ONE, server.url)).bear;
    const times: number[] = [];
    for (let round = 0; round < 100; round++) {
      await copied(bear, 7);
      const dropped = bear.l1Stats()?.dropped ?? 0;
      await writer.invalidate.row("product", 7);
      const begun = performance.now(); // its reply is here: from now on the copy is stale
      while (bear.l1Stats()?.dropped === dropped) await new Promise((resolve) => setImmediate(resolve));
      times.push(performance.now() - begun);
    }
    test.diagnostic(`a copy is stale for ${percentile(times, 0.5).toFixed(3)} ms after the invalidation's reply (median), ${percentile(times, 0.99).toFixed(3)} ms at the most of 100`);
    assert.ok(percentile(times, 0.5) < 5, `${times}`);
    await close();
  });
});
