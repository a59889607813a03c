import { COMMON } from "./common.js";
import * as jobs from "./jobs.js";
import * as queue from "./queue.js";
import * as schedulers from "./schedulers.js";

const bodies = {
  add: jobs.ADD,
  claim: jobs.CLAIM,
  finish: jobs.FINISH,
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

/** Each script with what all of them share. */
export const scripts: readonly { name: ScriptName; lua: string }[] = Object.entries(bodies).map(([name, body]) => ({
  name: name as ScriptName,
  lua: `${COMMON}\n${body}`,
}));
