// Which of the clients an application has: told apart by what they can do, for nothing is imported from them.
import { fromCluster, type IoredisClusterLike, type NodeRedisClusterLike } from "./cluster.js";
import { fromIoredis, fromNodeRedis, type Connection, type IoredisLike, type NodeRedisLike } from "./connection.js";
import { fromNodeRedisSentinel, type NodeRedisSentinelLike } from "./sentinel.js";

/** A client of ioredis (`Redis`, `Cluster`) or node-redis (`createClient`, `createCluster`, `createSentinel`), or what bear made of one. */
export type RedisLike = IoredisLike | IoredisClusterLike | NodeRedisLike | NodeRedisClusterLike | NodeRedisSentinelLike | Connection;

/** The connection of whatever client this is. */
export function connectionOf(client: RedisLike): Connection {
  const it = client as Partial<IoredisLike & NodeRedisLike> & { client?: unknown; isCluster?: unknown };
  if (it.client === "ioredis" || it.client === "node-redis") return client as Connection;
  if (it.isCluster === true || ("nodeClient" in client && "slots" in client)) return fromCluster(client as IoredisClusterLike | NodeRedisClusterLike);
  if ("getMasterNode" in client && !("duplicate" in client)) {
    throw new TypeError("createSentinel of redis 5 makes no connections for what waits: take redis 6, or ioredis, whose Redis has Sentinels");
  }
  if ("getMasterNode" in client && "acquire" in client) return fromNodeRedisSentinel(client as NodeRedisSentinelLike);
  if (typeof it.callBuffer === "function") return fromIoredis(client as IoredisLike);
  if (typeof it.sendCommand === "function" && typeof it.pSubscribe === "function") return fromNodeRedis(client as NodeRedisLike);
  throw new TypeError("a Redis or Cluster of ioredis (5, 6), or what createClient, createCluster or createSentinel of redis (5, 6) makes, is needed");
}
