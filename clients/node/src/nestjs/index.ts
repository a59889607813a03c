export { BearModule } from "./module.js";
export type { BearModuleAsyncOptions, BearModuleOptions } from "./module.js";
export { BEAR, InjectBear } from "./tokens.js";
export { Cacheable, CacheEvict, CachePut } from "./cached.js";
export type { CallOf, Evicted } from "./cached.js";
export { BearCacheInterceptor, CacheRoute } from "./interceptor.js";
export { OnWorkerEvent, Process, Processor, WorkerHost } from "./processor.js";
export { BearHealthIndicator } from "./health.js";
export type { HealthOptions } from "./health.js";
