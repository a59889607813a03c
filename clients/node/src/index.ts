export { Bear } from "./client/bear.js";
export { connectionOf, fromIoredis, fromNodeRedis, ConnectionLost } from "./client/connection.js";
export type { Connection, CallOptions, IoredisLike, Message, NodeRedisLike, Reply, Word } from "./client/connection.js";
export { BearError, DuplicateError, hasCode } from "./client/errors.js";
export type { BearErrorCode } from "./client/errors.js";
