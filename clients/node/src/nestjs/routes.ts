// Routes that are a query, or a job. The handler returns the call's words, or the job's payload, after pipes have had the request:
// the interceptor sends them, and answers what bear answers.
import {
  applyDecorators, HttpCode, Inject, Injectable, mixin, NotFoundException, SetMetadata, UseInterceptors, type CallHandler, type ExecutionContext,
  type NestInterceptor, type PipeTransform, type Type,
} from "@nestjs/common";
import { mergeMap, type Observable } from "rxjs";
import type { AnswerSource, Bear, CallWord } from "../client/bear.js";
import type { EnqueueOptions } from "../client/jobs.js";
import { setHeader } from "./interceptor.js";
import { BEAR } from "./tokens.js";

const QUERY = "bear:query-route";
const ENQUEUE = "bear:enqueue-route";

const X_CACHE: Record<AnswerSource, string> = { copy: "HIT", cache: "HIT", postgres: "MISS", fallback: "BYPASS" };

interface Enqueueing {
  space: string;
  job: string;
  options: EnqueueOptions | ((request: any) => EnqueueOptions);
}

/** What an `EnqueueRoute` answers. */
export interface Enqueued {
  jobId: string;
}

@Injectable()
export class BearQueryInterceptor implements NestInterceptor {
  constructor(@Inject(BEAR) private readonly bear: Bear) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const space = (Reflect as any).getMetadata(QUERY, context.getHandler()) as string;
    return next.handle().pipe(
      mergeMap(async (words: readonly CallWord[]) => {
        const result = await this.bear.query(space, words, {
          onAnswer: (source) => setHeader(context, "X-Cache", X_CACHE[source]),
        });
        return orNotFound(result, space, words);
      }),
    );
  }
}

@Injectable()
export class BearEnqueueInterceptor implements NestInterceptor {
  constructor(@Inject(BEAR) private readonly bear: Bear) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const { space, job, options } = (Reflect as any).getMetadata(ENQUEUE, context.getHandler()) as Enqueueing;
    return next.handle().pipe(
      mergeMap(async (data: unknown): Promise<Enqueued> => {
        const given = typeof options === "function" ? options(context.switchToHttp().getRequest()) : options;
        return { jobId: await this.bear.enqueue(space, job, data, given) };
      }),
    );
  }
}

/** Of methods that return this; others are an error of the compiler. */
type RouteDecorator<Returned> = <Handler extends (...args: any[]) => Returned | Promise<Returned>>(
  target: object,
  name: string | symbol,
  descriptor: TypedPropertyDescriptor<Handler>,
) => void;

/**
 * The route's answer is a query of `space`, whose words the handler returns. The header `X-Cache` says `HIT` or `MISS`, or `BYPASS`
 * where the client's `fallback` has answered. A result that is null (of `single = true`) is a 404.
 */
export function QueryRoute(space: string): RouteDecorator<readonly CallWord[]> {
  return applyDecorators(SetMetadata(QUERY, space), UseInterceptors(BearQueryInterceptor));
}

/** The route enqueues a job with the payload that the handler returns, and answers 202 with `{ jobId }`. `options` may be made of the request. */
export function EnqueueRoute(space: string, job: string, options: Enqueueing["options"] = {}): RouteDecorator<object> {
  const route = SetMetadata(ENQUEUE, { space, job, options } satisfies Enqueueing);
  return applyDecorators(HttpCode(202), route, UseInterceptors(BearEnqueueInterceptor));
}

/**
 * A pipe for a parameter that names something: it goes on as it is where the call, `words` and then the value, has a result, and is a
 * 404 where that is null. `@Param("id", ParseIntPipe, Existing("product")) id: number`
 */
export function Existing(space: string, ...words: CallWord[]): Type<PipeTransform> {
  @Injectable()
  class ExistingPipe implements PipeTransform<CallWord> {
    constructor(@Inject(BEAR) private readonly bear: Bear) {}

    async transform(value: CallWord): Promise<CallWord> {
      const call = [...words, value];
      orNotFound(await this.bear.query(space, call), space, call);
      return value;
    }
  }
  return mixin(ExistingPipe);
}

function orNotFound<T>(result: T | null, space: string, words: readonly CallWord[]): T {
  if (result === null) throw new NotFoundException(`${space} ${words.join(" ")}: there is none`);
  return result;
}
