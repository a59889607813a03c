// A server with the catalog of the tests, and clients of it, ended with the test file.
import { after } from "node:test";
import { Bear, type BearOptions } from "bear";
import { KINDS, type Client, type Kind } from "./clients.js";
import { BearServer, stopPostgres, type ServerOptions } from "./server.js";

const ends: (() => Promise<unknown> | unknown)[] = [];

after(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await stopPostgres();
});

/** Done when the test file has ended, the last first. */
export function atEnd(end: () => Promise<unknown> | unknown): void {
  ends.push(end);
}

export async function shop(options: Partial<ServerOptions> = {}): Promise<BearServer> {
  const server = await BearServer.start({
    catalog: "clients/node/test/catalogs/shop.toml",
    schema: ["clients/node/test/catalogs/shop.sql"],
    settings: ["--bear.feed", "off"], // these tests say themselves when something is dropped
    ...options,
  });
  ends.push(() => server.stop());
  return server;
}

/** A client; closed with the file, or by the test. */
export async function bearOf(kind: Kind, url: string, options: BearOptions = {}): Promise<{ bear: Bear; client: Client; close(): Promise<void> }> {
  const client = await kind.connect(url);
  const bear = new Bear(client.redis, options);
  let isClosed = false;
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    await bear.close();
    client.close();
  };
  ends.push(close);
  return { bear, client, close };
}

/** One of each library, for what does not depend on the protocol. */
export const TWO = [KINDS[1], KINDS[4]] as Kind[];
/** Any, for what depends on neither. */
export const ONE = KINDS[1] as Kind;

export function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}
