// Decorators of methods whose results are values of bear, and of those that change what such values were made of.
//
// A decorated class needs nothing else: the client is injected into a property of it, so that each application context has its own.
import { Inject } from "@nestjs/common";
import type { Bear, CallWord, GetOrSetOptions, PutOptions, Rows } from "../client/bear.js";
import { BEAR } from "./tokens.js";

/** The words of a call, made of a method's arguments; an array of words, or one word. */
export type CallOf<Args extends any[]> = (...args: Args) => readonly CallWord[];

type Method<Args extends any[], Result> = (...args: Args) => Promise<Result>;
/** Of any asynchronous method: TypeScript infers nothing of it before the decorator is made, so that functions given to one name their types themselves. */
type AsyncMethodDecorator = <M extends (...args: any[]) => Promise<any>>(
  target: object,
  name: string | symbol,
  descriptor: TypedPropertyDescriptor<M>,
) => void;

const CLIENT = Symbol("bear:client");

/** Injects the client into the class of `target`; it is found in an instance by the function returned. */
function withClient(target: object): (instance: unknown) => Bear {
  Inject(BEAR)(target, CLIENT);
  return (instance) => {
    const bear = (instance as { [CLIENT]?: Bear })[CLIENT];
    if (!bear) throw new Error("this class has no client of bear: it is none of Nest's providers, or BearModule is not imported");
    return bear;
  };
}

function wrap<Args extends any[], Result>(
  around: (bear: Bear, method: Method<Args, Result>, args: Args) => Promise<Result>,
): AsyncMethodDecorator {
  return (target, name, descriptor) => {
    const method = descriptor.value as Method<Args, Result> | undefined;
    if (typeof method !== "function") throw new TypeError(`${String(name)} is no method`);
    const clientOf = withClient(target);
    const wrapped = function (this: unknown, ...args: Args): Promise<Result> {
      return around(clientOf(this), method.bind(this) as Method<Args, Result>, args);
    };
    // What other decorators have said of the method stays said.
    for (const key of (Reflect as { getMetadataKeys?(of: object): unknown[] }).getMetadataKeys?.(method) ?? []) {
      (Reflect as any).defineMetadata(key, (Reflect as any).getMetadata(key, method), wrapped);
    }
    Object.defineProperty(wrapped, "name", { value: method.name });
    descriptor.value = wrapped as never;
  };
}

/**
 * The method's result is a value of `space`: it runs where nobody has the value, one process at a time, and its result is kept as
 * the catalog and `options` say. `call` makes the call's words of the arguments.
 */
export function Cacheable<Args extends any[], Result>(
  space: string,
  call: CallOf<Args>,
  options: GetOrSetOptions<Result> = {},
): AsyncMethodDecorator {
  return wrap<Args, Result>((bear, method, args) => bear.getOrSet<Result>(space, call(...args), () => method(...args), options));
}

/** What the method returns is stored as a value, once it has returned: it is as new as what the method has written. */
export function CachePut<Args extends any[], Result>(
  space: string,
  call: (result: Result, ...args: Args) => readonly CallWord[],
  options: PutOptions<Result> = {},
): AsyncMethodDecorator {
  return wrap<Args, Result>(async (bear, method, args) => {
    const result = await method(...args);
    await bear.put(space, call(result, ...args), result, options);
    return result;
  });
}

/** What a method makes stale. Each may be a function of its result and arguments. */
export interface Evicted<Args extends any[] = any[], Result = any> {
  /** One call, or several: the words of each. */
  call?: Of<readonly CallWord[] | readonly (readonly CallWord[])[], Args, Result>;
  tags?: Of<readonly string[], Args, Result>;
  /** Rows by section: what contained them. */
  rows?: Of<Rows, Args, Result>;
  /** Rows by section that have changed: also what they belong in now, which asks Postgres. */
  changed?: Of<Rows, Args, Result>;
  pattern?: Of<string, Args, Result>;
  /** All of the space. */
  all?: boolean;
}

type Of<T, Args extends any[], Result> = T | ((result: Result, ...args: Args) => T);

/** When the method has returned (not when it throws), what it has made stale goes. The method resolves after that. */
export function CacheEvict<Args extends any[], Result>(space: string, evicted: Evicted<Args, Result>): AsyncMethodDecorator {
  return wrap<Args, Result>(async (bear, method, args) => {
    const result = await method(...args);
    const of = <T>(given: Of<T, Args, Result>): T => (typeof given === "function" ? (given as (result: Result, ...args: Args) => T)(result, ...args) : given);
    const all: Promise<number>[] = [];
    if (evicted.call !== undefined) {
      const call = of(evicted.call);
      const calls = Array.isArray(call[0]) ? (call as readonly (readonly CallWord[])[]) : [call as readonly CallWord[]];
      for (const words of calls) all.push(bear.invalidate.query(space, ...words));
    }
    if (evicted.tags !== undefined) all.push(bear.invalidate.tag(space, ...of(evicted.tags)));
    if (evicted.rows !== undefined) for (const [section, ids] of Object.entries(of(evicted.rows))) all.push(bear.invalidate.row(section, ...ids));
    if (evicted.changed !== undefined) for (const [section, ids] of Object.entries(of(evicted.changed))) all.push(bear.invalidate.changed(section, ...ids));
    if (evicted.pattern !== undefined) all.push(bear.invalidate.pattern(space, of(evicted.pattern)));
    if (evicted.all) all.push(bear.invalidate.all(space));
    await Promise.all(all);
    return result;
  });
}
