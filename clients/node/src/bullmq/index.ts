/**
 * BullMQ 6 on bear: `setDefaultBackendFactory(createBearBackend)`, or `new Queue(name, options, createBearBackend)`, and an
 * application goes on with its processors, workers, events and schedulers.
 *
 * The server's catalog has an open section with a tenant, `bullmq` by default; each queue is a tenant of it.
 */
import { RedisConnection, type BackendFactory, type QueueBaseOptions } from "bullmq";
import { BearQueueBackend } from "./backend.js";

export { BearQueueBackend } from "./backend.js";

export interface BearBackendOptions {
  /** The open section of the catalog of which the queues are tenants. By default `bullmq`. */
  section?: string;
}

interface Duplicable {
  connect: unknown;
  disconnect: unknown;
  duplicate: (overrides?: object) => unknown;
}

const isClient = (connection: unknown): connection is Duplicable =>
  ["connect", "disconnect", "duplicate"].every((name) => typeof (connection as Record<string, unknown> | null)?.[name] === "function");

/** A factory of backends over this section. */
export function bearBackend({ section = "bullmq" }: BearBackendOptions = {}): BackendFactory<BearQueueBackend> {
  return (queue, options, { blocking = false, withBlockingConnection = false } = {}) => {
    const shared = isClient(options.connection);
    const { skipVersionCheck, skipWaitingForReady } = options as QueueBaseOptions & { skipWaitingForReady?: boolean };
    const extra = {
      ...(skipVersionCheck === undefined ? {} : { skipVersionCheck }),
      ...(skipWaitingForReady === undefined ? {} : { skipWaitingForReady }),
    };
    const connection = new RedisConnection(options.connection, { ...extra, shared, blocking });
    return new BearQueueBackend({
      queue,
      options,
      section,
      connection,
      blocking: withBlockingConnection ? blockingConnection(queue, options, extra) : undefined,
    });
  };
}

/** The one on which a worker waits; getWorkers() finds it by its name. */
function blockingConnection(queue: string, options: QueueBaseOptions, extra: object): RedisConnection {
  const { prefix = "bull", name } = options as { prefix?: string; name?: string };
  const connectionName = `${prefix}:${Buffer.from(queue).toString("base64")}${name ? `:w:${name}` : ""}`;
  const of = options.connection;
  const connection = isClient(of) ? of.duplicate({ connectionName }) : { ...of, connectionName };
  return new RedisConnection(connection as QueueBaseOptions["connection"], { ...extra, shared: false, blocking: true });
}

/** The factory over the section `bullmq`. */
export const createBearBackend: BackendFactory<BearQueueBackend> = bearBackend();
