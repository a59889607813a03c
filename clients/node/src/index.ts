export { Bear } from "./client/bear.js";
export type {
  AnswerSource, BearOptions, CallWord, ClaimOptions, GetOrSetOptions, Held, LimitResult, Making, PutOptions, QueryOptions, Rate, Rows, Unanswered,
} from "./client/bear.js";
export { fromCluster } from "./client/cluster.js";
export type { IoredisClusterLike, NodeRedisClusterLike } from "./client/cluster.js";
export { connectionOf } from "./client/connect.js";
export type { RedisLike } from "./client/connect.js";
export { fromIoredis, fromNodeRedis, ConnectionLost } from "./client/connection.js";
export type { Connection, CallOptions, DuplicateOptions, IoredisLike, Message, NodeRedisLike, Reply, Word } from "./client/connection.js";
export type { CopiesOptions, CopiesStats } from "./client/copies.js";
export { BearError, DuplicateError, hasCode, toBearError } from "./client/errors.js";
export type { BearErrorCode } from "./client/errors.js";
export type { Invalidate } from "./client/invalidate.js";
export type {
  Attempt, Claim, EnqueueOptions, Job, JobState, Limits, LogLine, Schedule, ScheduleOptions, Stats,
} from "./client/jobs.js";
export { LockNotHad } from "./client/locks.js";
export type { HeldLock } from "./client/locks.js";
export { fromNodeRedisSentinel } from "./client/sentinel.js";
export type { NodeRedisSentinelLike } from "./client/sentinel.js";
export type { Telemetry } from "./client/telemetry.js";
export { isConnectionError } from "./client/waits.js";
export { inBatches } from "./worker/batch.js";
export type { BatchHandler, BatchResults } from "./worker/batch.js";
export { JobAborted, RetryAfter, RunningJob, UnrecoverableError } from "./worker/job.js";
export { Worker } from "./worker/worker.js";
export type { Handler, WorkerEvents, WorkerOptions } from "./worker/worker.js";
