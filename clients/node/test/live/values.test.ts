import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { before, describe, it } from "node:test";
import { Bear } from "bear";
import { KINDS } from "../support/clients.js";
import { eventually } from "../support/processes.js";
import type { BearServer } from "../support/server.js";
import { bearOf, ONE, shop, TWO } from "../support/shop.js";

let server: BearServer;

before(async () => {
  server = await shop();
});

/** A promise and what settles it. */
function gate<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  let open!: (value: T) => void;
  const opened = new Promise<T>((resolve) => (open = resolve));
  return { opened, open };
}

for (const [number, kind] of KINDS.entries()) {
  describe(kind.name, () => {
    it("a value is computed once and found from then on", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      let computed = 0;
      const get = () => bear.getOrSet("page", ["shelf", `once-${number}`], () => ({ names: ["Desk lamp"], computed: ++computed }));
      assert.deepEqual(await get(), { names: ["Desk lamp"], computed: 1 });
      assert.deepEqual(await get(), { names: ["Desk lamp"], computed: 1 });
      assert.deepEqual(await bear.get("page", ["shelf", `once-${number}`]), { names: ["Desk lamp"], computed: 1 });
      await close();
    });

    it("bytes stay as they are", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const bytes = Buffer.from([0, 255, 10, 13, 128, number]);
      const get = () => bear.getOrSet("page", ["avatar", number], () => bytes, { bytes: true });
      assert.deepEqual(await get(), bytes);
      assert.deepEqual(await get(), bytes);
      assert.deepEqual(await bear.get("page", ["avatar", number], { bytes: true }), bytes);
      await close();
    });

    it("put writes through, with rows, tags and a life", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const words = ["shelf", `put-${number}`];
      assert.equal(await bear.put("page", words, [1, 2], { rows: { product: [1, 2] }, tags: ["front"], ttl: 60_000 }), true);
      assert.equal(await bear.put("page", words, [3], { ifAbsent: true }), false);
      assert.deepEqual(await bear.get("page", words), [1, 2]);
      assert.deepEqual((await bear.explain("page", ...words))["tags"], ["front", `shelf:put-${number}`]);
      await bear.invalidate.row("product", 2);
      assert.equal(await bear.get("page", words), null);
      await close();
    });

    it("a lease is given, put and given up", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const words = ["shelf", `lease-${number}`];
      const { value, token } = await bear.lease("page", words);
      assert.ok(value === null && token !== null);
      assert.deepEqual(await bear.lease("page", words), { value: null, token: null });
      assert.equal(await bear.forget("page", token), true);
      assert.equal(await bear.forget("page", token), false);
      const again = await bear.lease("page", words);
      assert.equal(await bear.put("page", words, "a", { token: again.token as string }), true);
      assert.deepEqual(await bear.mget("page", [words, ["shelf", "nothing"], ["shelf"]]).then((all) => all.map((each) => (each instanceof Error ? "error" : each))), ["a", null, "error"]);
      await close();
    });
  });
}

for (const kind of TWO) {
  describe(`values, ${kind.name}`, () => {
    const name = kind.name.replaceAll(/\W/g, "");

    it("of many who miss in two processes one computes, more than there are connections", async () => {
      const [one, two] = [await bearOf(kind, server.url), await bearOf(kind, server.url)];
      let computed = 0;
      const { opened, open } = gate();
      const get = (bear: Bear) =>
        bear.getOrSet("page", ["shelf", `many-${name}`], async () => {
          computed++;
          await opened;
          return "computed";
        });
      const all = Array.from({ length: 60 }, (_, at) => get(at % 2 ? one.bear : two.bear));
      await eventually("somebody computes", () => computed > 0);
      open();
      assert.deepEqual(new Set(await Promise.all(all)), new Set(["computed"]));
      assert.equal(computed, 1);
      await one.close();
      await two.close();
    });

    it("a failing function gives the lease up, and the next one computes at once", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const { opened, open } = gate();
      const first = bear.getOrSet("page", ["shelf", `fail-${name}`], async () => {
        await opened;
        throw new Error("no shelf");
      });
      await eventually("it has the lease", async () => (await bear.explain("page", "shelf", `fail-${name}`))["leaseMs"]);
      const begun = performance.now();
      const second = bear.getOrSet("page", ["shelf", `fail-${name}`], () => "second");
      open();
      await assert.rejects(first, /no shelf/);
      assert.equal(await second, "second");
      assert.ok(performance.now() - begun < 1500, "well before the lease of 2 s has ended");
      await close();
    });

    it("an invalidation in the midst: who asked before gets the old value, who asks after another one, and the old is not stored", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const words = ["shelf", `struck-${name}`];
      const { opened, open } = gate();
      const before = bear.getOrSet("page", words, async () => {
        await opened;
        return "old";
      });
      await eventually("it has the lease", async () => (await bear.explain("page", ...words))["leaseMs"]);
      await bear.invalidate.tag("page", `shelf:struck-${name}`);
      assert.equal(await bear.getOrSet("page", words, () => "new"), "new");
      open();
      assert.equal(await before, "old");
      assert.equal(await bear.get("page", words), "new");
      await close();
    });

    it("a value that comes after its lease is returned all the same", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const words = ["shelf", `late-${name}`];
      const late = bear.getOrSet("page", words, async () => {
        await eventually("the lease is over", async () => (await bear.explain("page", ...words))["leaseMs"] === null);
        return "late";
      }, { lease: 50 });
      assert.equal(await late, "late");
      assert.equal(await bear.get("page", words), null);
      await close();
    });

    it("who waits no longer computes, and stores nothing", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const words = ["shelf", `patience-${name}`];
      const { token } = await bear.lease("page", words, { lease: 60_000 });
      assert.equal(await bear.getOrSet("page", words, () => "mine", { wait: 50 }), "mine");
      assert.equal(await bear.put("page", words, "theirs", { token: token as string }), true);
      assert.equal(await bear.getOrSet("page", words, () => "mine"), "theirs");
      await close();
    });

    it("what is near its end is served, and computed anew beside", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      let computed = 0;
      const get = () => bear.getOrSet<number>("page", ["brief", name.length], () => ++computed);
      assert.equal(await get(), 1);
      await sleep(120); // its life of 100 ms
      assert.equal(await get(), 1);
      await eventually("the newer one is there", async () => (await get()) >= 2);
      await close();
    });

    it("options may be made of the value, and said while it is computed", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      const words = ["shelf", `made-${name}`];
      const value = await bear.getOrSet(
        "page",
        words,
        (making) => {
          making.rows("product", 7);
          making.tags("said");
          return { ids: [5, 6] };
        },
        { rows: ({ ids }) => ({ product: ids }), tags: ({ ids }) => ids.map((id) => `id-${id}`), ttl: () => 5000 },
      );
      assert.deepEqual(value, { ids: [5, 6] });
      // A value is put when it is answered, and stored a moment later.
      const explained = await eventually("it is stored", async () => {
        const explained = await bear.explain("page", ...words);
        return explained["cached"] ? explained : undefined;
      });
      assert.deepEqual(explained["tags"], ["id-5", "id-6", "said", `shelf:made-${name}`]);
      assert.ok(Number(explained["ttlMs"]) <= 5000);
      assert.deepEqual((explained["droppedBy"] as string[]).filter((each) => each.startsWith("product")), ["product ROW 5", "product ROW 6", "product ROW 7"]);
      await close();
    });

    it("a mistake in what is said of a value is told", async () => {
      const { bear, close } = await bearOf(kind, server.url);
      await assert.rejects(bear.getOrSet("page", ["shelf", `wrong-${name}`], () => 1, { rows: { nosuch: [1] } }), { code: "ERR" });
      assert.equal(await bear.getOrSet("page", ["shelf", `wrong-${name}`], () => 2), 2);
      await close();
    });
  });
}

describe("waiting for values", () => {
  it("on more values than there are connections: all come", async () => {
    const [holder, waiter] = [await bearOf(ONE, server.url), await bearOf(ONE, server.url, { waits: 2 })];
    const names = Array.from({ length: 20 }, (_, at) => ["shelf", `queue-${at}`]);
    const tokens = await Promise.all(names.map((words) => holder.bear.lease("page", words, { lease: 30_000 })));
    const waiting = names.map((words) => waiter.bear.getOrSet("page", words, () => "own"));
    await sleep(50); // some block by now and some ask
    const begun = performance.now();
    await Promise.all(names.map((words, at) => holder.bear.put("page", words, `held ${at}`, { token: tokens[at]?.token as string })));
    assert.deepEqual(await Promise.all(waiting), names.map((_, at) => `held ${at}`));
    assert.ok(performance.now() - begun < 1000);
    await holder.close();
    await waiter.close();
  });
});
