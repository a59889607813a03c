/**
 * BullMQ 6 on bear: `setDefaultBackendFactory(createBearBackend)`, or `new Queue(name, options, createBearBackend)`, and an
 * application goes on with its processors, workers, events and schedulers.
 *
 * The server's catalog has an open section with a tenant, `bullmq` by default; each queue is a tenant of it.
 */
import {
  createIORedisClient,
  createNodeRedisClient,
  isIRedisClient,
  QueueEvents,
  RedisConnection,
  type BackendFactory,
  type IRedisClient,
  type QueueBaseOptions,
} from "bullmq";
import { BearQueueBackend } from "./backend.js";

export { BearQueueBackend } from "./backend.js";

export interface BearBackendOptions {
  /** The open section of the catalog of which the queues are tenants. By default `bullmq`. */
  section?: string;
}

const isClient = (connection: unknown): boolean =>
  ["connect", "disconnect", "duplicate"].every((name) => typeof (connection as Record<string, unknown> | null)?.[name] === "function");

/** A client as BullMQ uses it, of one of ioredis or node-redis, which tells itself by what it has. */
function adapted(client: unknown): IRedisClient {
  if (isIRedisClient(client)) return client;
  const isNodeRedis = typeof (client as { sendCommand?: unknown }).sendCommand === "function" && "isOpen" in (client as object);
  return isNodeRedis ? createNodeRedisClient(client as never) : createIORedisClient(client as never);
}

/** Until 6.2 QueueEvents makes a connection of its own of a client that it is given; later ones leave it to the factory. */
const listenersDuplicate = /\bduplicate\b/.test(Function.prototype.toString.call(QueueEvents));

/** A factory of backends over this section. */
export function bearBackend({ section = "bullmq" }: BearBackendOptions = {}): BackendFactory<BearQueueBackend> {
  return (queue, options, { blocking = false, withBlockingConnection = false } = {}) => {
    const of = options.connection;
    const { prefix = "bull", name, skipVersionCheck, skipWaitingForReady } = options as QueueBaseOptions & Further;
    const extra = {
      ...(skipVersionCheck === undefined ? {} : { skipVersionCheck }),
      ...(skipWaitingForReady === undefined ? {} : { skipWaitingForReady }),
    };
    // what blocks for long has a connection of its own, and not that of the application
    const isOwn = !isClient(of) || (blocking && !listenersDuplicate);
    const main = isOwn && isClient(of) ? adapted(of).duplicate() : of;
    const connection = new RedisConnection(main as typeof of, { ...extra, shared: !isOwn, blocking });
    let waiting: RedisConnection | undefined;
    if (withBlockingConnection) {
      // getWorkers() finds a worker by the name of the connection on which it waits
      const connectionName = `${prefix}:${Buffer.from(queue).toString("base64")}${name ? `:w:${name}` : ""}`;
      const client = isClient(of) ? adapted(of).duplicate({ connectionName }) : { ...of, connectionName };
      waiting = new RedisConnection(client as typeof of, { ...extra, shared: false, blocking: true });
    }
    return new BearQueueBackend({ queue, options, section, connection, blocking: waiting });
  };
}

interface Further {
  prefix?: string;
  name?: string;
  skipWaitingForReady?: boolean;
}

/** The factory over the section `bullmq`. */
export const createBearBackend: BackendFactory<BearQueueBackend> = bearBackend();
