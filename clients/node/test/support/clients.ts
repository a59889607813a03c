// The clients that are tested: both libraries in both majors, and both protocols where they speak both.
import { Redis as Redis6 } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient as createClient6 } from "redis";
import { createClient as createClient5 } from "redis5";
import type { IoredisLike, NodeRedisLike } from "bear";

export interface Client {
  redis: IoredisLike | NodeRedisLike;
  close(): void;
}

export interface Kind {
  name: string;
  connect(url: string): Promise<Client>;
}

function ofIoredis(redis: Redis5 | Redis6): Client {
  redis.on("error", () => {});
  return { redis, close: () => redis.disconnect() };
}

async function ofNodeRedis(client: NodeRedisLike): Promise<Client> {
  client.on("error", () => {});
  await client.connect();
  return { redis: client, close: () => client.destroy() };
}

export const KINDS: Kind[] = [
  { name: "ioredis 6, RESP2", connect: async (url) => ofIoredis(new Redis6(url, { protocol: 2 })) },
  { name: "ioredis 6, RESP3", connect: async (url) => ofIoredis(new Redis6(url, { protocol: 3 })) },
  { name: "ioredis 5, RESP2", connect: async (url) => ofIoredis(new Redis5(url)) },
  { name: "redis 6, RESP2", connect: (url) => ofNodeRedis(createClient6({ url, RESP: 2 })) },
  { name: "redis 6, RESP3", connect: (url) => ofNodeRedis(createClient6({ url, RESP: 3 })) },
  { name: "redis 5, RESP2", connect: (url) => ofNodeRedis(createClient5({ url, RESP: 2 })) },
];
