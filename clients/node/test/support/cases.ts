// tests/clients/cases.json of the repository: commands, and what they are answered. tests/live/clients/cases.rs says what its fields are.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { root } from "./server.js";

type GivenWord = string | { hex: string };
export type Shape = string | Shape[] | { [kind: string]: any };

export interface Case {
  call: GivenWord[];
  reply: Shape;
  save?: Record<string, (string | number)[]>;
  meanwhile?: GivenWord[];
}

export type Known = Record<string, string>;

export const cases = JSON.parse(readFileSync(join(root, "tests/clients/cases.json"), "utf8")) as Case[];

/** A reply: bulk strings as Buffers, simple ones as strings or Buffers, errors as Errors, maps as Maps, objects or lists. */
export type Got = unknown;

export function wordsOf(given: readonly GivenWord[], known: Known): Buffer[] {
  return given.map((word) => (typeof word === "string" ? Buffer.from(inPlace(word, known)) : Buffer.from(word.hex, "hex")));
}

export function save({ save = {} }: Case, reply: Got, known: Known): void {
  for (const [name, path] of Object.entries(save)) {
    let at: any = reply;
    for (const step of path) at = typeof step === "number" ? at[step] : toMap(at)?.get(step);
    known[name] = String(at);
  }
}

/** What is wrong with a reply, or undefined. `shows`: as in which protocol the client shows maps and booleans. */
export function wrongOf(shape: Shape, reply: Got, shows: 2 | 3, known: Known, at = "the reply"): string | undefined {
  if (Array.isArray(shape)) {
    if (!Array.isArray(reply)) return `${at} is no array of ${shape.length}`;
    if (reply.length !== shape.length) return `${at} has ${reply.length} elements, not ${shape.length}`;
    return first(shape.map((each, place) => () => wrongOf(each, reply[place], shows, known, `${at}[${place}]`)));
  }
  const [kind, wanted] = typeof shape === "string" ? [shape, undefined] : (Object.entries(shape)[0] as [string, any]);
  const is = wanted !== undefined;
  const isRight = (): boolean => {
    switch (kind) {
      case "any": return true;
      case "nil": return reply === null;
      case "int": return typeof reply === "number" && (!is || reply === wanted);
      case "text": return textOf(reply) !== undefined && (!is || textOf(reply) === inPlace(wanted, known));
      case "begins": return textOf(reply)?.startsWith(wanted) === true;
      case "hex": return Buffer.isBuffer(reply) && reply.toString("hex") === wanted;
      case "json": return jsonOf(reply) !== undefined && (!is || isDeepStrictEqual(jsonOf(reply), wanted));
      case "bool": {
        const value = shows === 3 ? reply : reply === 1 ? true : reply === 0 ? false : undefined;
        return typeof value === "boolean" && (!is || value === wanted);
      }
      case "error": return reply instanceof Error && reply.message.split(" ")[0] === wanted;
      default: throw new Error(`${kind} is no shape`);
    }
  };
  if (kind === "list") {
    if (!Array.isArray(reply)) return `${at} is no array`;
    return first(reply.map((each, place) => () => wrongOf(wanted, each, shows, known, `${at}[${place}]`)));
  }
  if (kind === "map") {
    if (Array.isArray(reply) !== (shows === 2)) return `${at} is no map as the client has them`;
    const fields = toMap(reply);
    if (fields === undefined) return `${at} is no map`;
    return first(
      Object.entries(wanted as Record<string, Shape>).map(
        ([name, each]) => () => (fields.has(name) ? wrongOf(each, fields.get(name), shows, known, `${at}.${name}`) : `${at} has no ${name}`),
      ),
    );
  }
  return isRight() ? undefined : `${at} is not ${JSON.stringify(shape)}`;
}

function first(looks: (() => string | undefined)[]): string | undefined {
  for (const look of looks) {
    const wrong = look();
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function inPlace(text: string, known: Known): string {
  if (!text.startsWith("$")) return text;
  const saved = known[text.slice(1)];
  if (saved === undefined) throw new Error(`nothing was saved as ${text}`);
  return saved;
}

function toMap(reply: Got): Map<string, unknown> | undefined {
  if (Array.isArray(reply)) {
    const map = new Map<string, unknown>();
    for (let at = 0; at + 1 < reply.length; at += 2) map.set(String(reply[at]), reply[at + 1]);
    return reply.length % 2 === 0 ? map : undefined;
  }
  if (reply instanceof Map) return new Map([...reply].map(([name, value]) => [String(name), value]));
  return reply !== null && typeof reply === "object" && !Buffer.isBuffer(reply) ? new Map(Object.entries(reply)) : undefined;
}

function textOf(reply: Got): string | undefined {
  return typeof reply === "string" || Buffer.isBuffer(reply) ? reply.toString() : undefined;
}

function jsonOf(reply: Got): unknown {
  try {
    return JSON.parse(textOf(reply) ?? "");
  } catch {
    return undefined;
  }
}
