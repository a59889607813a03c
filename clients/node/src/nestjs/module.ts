// The module: one client for the application, its processors, its interceptor and its health.
import {
  Inject, Module, type DynamicModule, type FactoryProvider, type ModuleMetadata, type OnApplicationShutdown, type Provider,
} from "@nestjs/common";
import { DiscoveryModule } from "@nestjs/core";
import { Bear, type BearOptions } from "../client/bear.js";
import type { RedisLike } from "../client/connect.js";
import { BearHealthIndicator } from "./health.js";
import { BearCacheInterceptor } from "./interceptor.js";
import { Processors } from "./processor.js";
import { BearEnqueueInterceptor, BearQueryInterceptor } from "./routes.js";
import { BEAR, BEAR_OPTIONS } from "./tokens.js";

export interface BearModuleOptions extends BearOptions {
  /** A client of ioredis or a connected one of node-redis. It stays the application's: nobody else ends it, unless `closeRedis` does. */
  redis: RedisLike;
  /** Done when the application has ended, after the workers: `() => redis.quit()`. */
  closeRedis?: () => unknown;
}

export interface BearModuleAsyncOptions extends Pick<ModuleMetadata, "imports"> {
  inject?: FactoryProvider["inject"];
  useFactory: (...words: any[]) => BearModuleOptions | Promise<BearModuleOptions>;
}

const PROVIDERS: Provider[] = [
  { provide: BEAR, inject: [BEAR_OPTIONS], useFactory: ({ redis, closeRedis: _, ...options }: BearModuleOptions) => new Bear(redis, options) },
  { provide: Bear, useExisting: BEAR },
  Processors,
  BearCacheInterceptor,
  BearQueryInterceptor,
  BearEnqueueInterceptor,
  BearHealthIndicator,
];

@Module({})
export class BearModule implements OnApplicationShutdown {
  constructor(
    @Inject(BEAR) private readonly bear: Bear,
    @Inject(BEAR_OPTIONS) private readonly options: BearModuleOptions,
  ) {}

  /** For the whole application: `BEAR` may be injected everywhere. */
  static forRoot(options: BearModuleOptions): DynamicModule {
    return BearModule.with([{ provide: BEAR_OPTIONS, useValue: options }]);
  }

  static forRootAsync({ imports, inject, useFactory }: BearModuleAsyncOptions): DynamicModule {
    return BearModule.with([{ provide: BEAR_OPTIONS, useFactory, inject: inject ?? [] }], imports);
  }

  /** After the workers have closed, which is before. */
  async onApplicationShutdown(): Promise<void> {
    await this.bear.close();
    await this.options.closeRedis?.();
  }

  private static with(options: Provider[], imports: ModuleMetadata["imports"] = []): DynamicModule {
    return {
      module: BearModule,
      global: true,
      imports: [DiscoveryModule, ...imports],
      providers: [...options, ...PROVIDERS],
      exports: [BEAR, Bear, BearCacheInterceptor, BearQueryInterceptor, BearEnqueueInterceptor, BearHealthIndicator],
    };
  }
}
