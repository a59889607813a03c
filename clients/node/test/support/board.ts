// Bull Board itself, as an application serves it, on a port of its own.
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createRequire } from "node:module";
import { createBullBoard } from "@bull-board/api";
import type { BaseAdapter } from "@bull-board/api/baseAdapter";
import { ExpressAdapter } from "@bull-board/express";
import { atEnd } from "./shop.js";

export interface Answer {
  status: number;
  body: any;
}

export class Board {
  private constructor(readonly url: string) {}

  /** `api`: the folder of another version of @bull-board/api. */
  static async start(queues: BaseAdapter[], options: { api?: string } = {}): Promise<Board> {
    const serverAdapter = new ExpressAdapter();
    const create = options.api === undefined ? createBullBoard : (createRequire(import.meta.url)(options.api) as { createBullBoard: typeof createBullBoard }).createBullBoard;
    // With validateResponses each answer is compared with the schema that Bull Board has of it.
    create({ queues, serverAdapter, options: { validateResponses: true, uiConfig: { pollingInterval: { forceInterval: 1 } } } });
    const server = serverAdapter.getRouter().listen(0, "127.0.0.1");
    await once(server, "listening");
    atEnd(() => {
      server.closeAllConnections();
      server.close();
    });
    return new Board(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  }

  async send(method: "GET" | "PUT" | "POST" | "PATCH", path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${this.url}/api/${path}`, {
      method,
      ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  }

  /** A queue as the page shows it. */
  async queue(name: string, query: Record<string, string> = {}): Promise<any> {
    const { status, body } = await this.send("GET", `queues?${new URLSearchParams({ activeQueue: encodeURIComponent(name), ...query })}`);
    if (status !== 200) throw new Error(`${status}: ${JSON.stringify(body)}`);
    return body.queues.find((each: { name: string }) => each.name === name);
  }
}
