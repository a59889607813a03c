// Replies made the same, whichever protocol and client they came by: maps are objects, names are written as here.
import type { Reply } from "./connection.js";
import { toBearError } from "./errors.js";

/** A map: of RESP3 a Map or an object, of RESP2 names and values in turn. */
export function toObject(reply: Reply): Record<string, Reply> {
  const object: Record<string, Reply> = {};
  if (reply instanceof Map) for (const [name, value] of reply) object[String(name)] = value;
  else if (Array.isArray(reply)) for (let at = 0; at + 1 < reply.length; at += 2) object[String(reply[at])] = reply[at + 1];
  else if (reply !== null && typeof reply === "object") Object.assign(object, reply);
  else throw new TypeError(`a map was expected, and ${String(reply)} came`);
  return object;
}

/** `max_attempts` is `maxAttempts`. */
export function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** A map with its names in camel case; nothing is changed below it. */
export function toFields(reply: Reply): Record<string, Reply> {
  return Object.fromEntries(Object.entries(toObject(reply)).map(([name, value]) => [camelCase(name), value]));
}

export function toList(reply: Reply): Reply[] {
  if (reply === null || reply === undefined) return [];
  if (Array.isArray(reply)) return reply;
  if (reply instanceof Set) return [...reply];
  throw new TypeError(`an array was expected, and ${String(reply)} came`);
}

export function toNumber(reply: Reply): number {
  return Number(reply);
}

export function toBoolean(reply: Reply): boolean {
  return reply === true || Number(reply) === 1;
}

/** An element of an array that may be an error: ioredis and node-redis put errors there. */
export function orError<T>(reply: Reply, read: (reply: Reply) => T): T | Error {
  return reply instanceof Error ? (toBearError(reply) as Error) : read(reply);
}
