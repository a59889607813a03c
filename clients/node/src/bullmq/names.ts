/** How a queue's name and prefix become a tenant, a space and keys. */

/** BullMQ's own, which is left out of tenants. */
const DEFAULT_PREFIX = "bull";

/** Of a tenant's value bear takes any text but braces, and no name of a section. */
const encode = (text: string) => text.replace(/[%{}]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);

export interface Names {
  /** `{welcome}:bullmq`: what bear's commands are given. */
  space: string;
  /** `bmq:{welcome}:bullmq:`: what the keys beside begin with. */
  base: string;
  /** `bull:welcome`: BullMQ's own name of it. */
  qualified: string;
}

export function namesOf(queue: string, prefix: string | undefined, section: string): Names {
  const of = prefix ?? DEFAULT_PREFIX;
  const tenant = encode(of === DEFAULT_PREFIX ? queue : `${of}:${queue}`);
  const space = `{${tenant === section ? `${tenant}%` : tenant}}:${section}`;
  return { space, base: `bmq:${space}:`, qualified: `${of}:${queue}` };
}
