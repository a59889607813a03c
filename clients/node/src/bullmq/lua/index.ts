import { COMMON } from "./common.js";
import * as jobs from "./jobs.js";
import * as queue from "./queue.js";
import * as schedulers from "./schedulers.js";

const bodies = {
  add: jobs.ADD,
  addPlain: jobs.ADD_PLAIN,
  claim: jobs.CLAIM,
  finish: jobs.FINISH,
  finishPlain: jobs.FINISH_PLAIN,
  retry: jobs.RETRY,
  delay: jobs.DELAY,
  release: jobs.RELEASE,
  reprocess: jobs.REPROCESS,
  promote: jobs.PROMOTE,
  changeDelay: jobs.CHANGE_DELAY,
  changePriority: jobs.CHANGE_PRIORITY,
  remove: jobs.REMOVE,
  removeChildren: jobs.REMOVE_CHILDREN,
  waitForChildren: jobs.WAIT_FOR_CHILDREN,
  detach: jobs.DETACH,
  childCounts: jobs.CHILD_COUNTS,
  children: jobs.CHILDREN,
  update: jobs.UPDATE,
  progress: jobs.PROGRESS,
  addLog: jobs.ADD_LOG,
  extend: jobs.EXTEND,
  get: jobs.GET,
  state: jobs.STATE,
  outcome: jobs.OUTCOME,
  freeDedup: jobs.FREE_DEDUP,
  pause: queue.PAUSE,
  setMeta: queue.SET_META,
  removeMeta: queue.REMOVE_META,
  stalled: queue.STALLED,
  reprocessAll: queue.REPROCESS_ALL,
  drain: queue.DRAIN,
  clean: queue.CLEAN,
  cleaned: queue.CLEANED,
  obliterate: queue.OBLITERATE,
  counts: queue.COUNTS,
  countsPerPriority: queue.COUNTS_PER_PRIORITY,
  ranges: queue.RANGES,
  metrics: queue.METRICS,
  limitTtl: queue.LIMIT_TTL,
  orphans: queue.ORPHANS,
  addScheduler: schedulers.ADD_SCHEDULER,
  advanceScheduler: schedulers.ADVANCE_SCHEDULER,
  removeScheduler: schedulers.REMOVE_SCHEDULER,
  getScheduler: schedulers.GET_SCHEDULER,
} as const;

export type ScriptName = keyof typeof bodies;

/** Under what name a script is defined on a connection; another version of this package may have defined its own there. */
export const commandOf = (name: ScriptName, version: string): string => `bear:${version}:${name}`;

/** Paragraphs of what scripts share, with the names that each declares. */
const parts = COMMON.trim()
  .split(/\n\n/)
  .map((text) => {
    const declarations = text.matchAll(/^(?:local (?:function )?([\w, ]+?)(?=\(| =|$)|(\w+) = function)/gm);
    return { text, names: [...declarations].flatMap(([, names, name]) => (name ?? names ?? "").split(", ")) };
  });

const words = (lua: string) => new Set(lua.replace(/--.*$/gm, "").match(/[a-zA-Z_]\w*/g));

/** A script with the paragraphs that it needs, and those that these need: Redis makes all functions of a script anew at each call. */
function assembled(body: string): string {
  const needed = new Set(parts.slice(0, 1));
  let wanted = words(body);
  for (let before = -1; needed.size > before; ) {
    before = needed.size;
    for (const part of parts) if (part.names.some((name) => wanted.has(name))) needed.add(part);
    wanted = words([body, ...[...needed].map((part) => part.text)].join("\n"));
  }
  return [...parts.filter((part) => needed.has(part)).map((part) => part.text), body].join("\n");
}

export const scripts: readonly { name: ScriptName; lua: string }[] = Object.entries(bodies).map(([name, body]) => ({
  name: name as ScriptName,
  lua: assembled(body),
}));
