import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Bear, BearError } from "bear";
import { KINDS } from "../support/clients.js";
import { BearServer, stopPostgres } from "../support/server.js";

let server: BearServer;

before(async () => {
  server = await BearServer.start({ catalog: "catalogs/bear.toml", schema: ["schema/bear.sql", "schema/bear-data.sql"] });
});

after(async () => {
  await server.stop();
  await stopPostgres();
});

for (const kind of KINDS) {
  describe(kind.name, () => {
    it("a query's result comes parsed", async () => {
      const client = await kind.connect(server.url);
      const bear = new Bear(client.redis);
      const found = await bear.query<{ id: number; size: number }[]>("bear", "size", 155, 156);
      assert.deepEqual(found.map(({ id, size }) => [id, size]), [[5, 155]]);
      client.close();
    });

    it("an error of the server has its code", async () => {
      const client = await kind.connect(server.url);
      const bear = new Bear(client.redis);
      await assert.rejects(bear.query("bear", "size", 1, "many"), (error) => {
        assert.ok(error instanceof BearError);
        assert.equal(error.code, "ERR");
        assert.match(error.message, /^end must be an integer/);
        return true;
      });
      client.close();
    });
  });
}
