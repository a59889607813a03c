// Answers of routes as values: the handler runs where nobody has the answer.
import { type CallHandler, type ExecutionContext, Inject, Injectable, type NestInterceptor, SetMetadata, UseInterceptors, applyDecorators } from "@nestjs/common";
import { from, lastValueFrom, type Observable } from "rxjs";
import type { Bear, CallWord, GetOrSetOptions } from "../client/bear.js";
import { BEAR } from "./tokens.js";

const ROUTE = "bear:route";

interface Route {
  space: string;
  call: (request: any, context: ExecutionContext) => readonly CallWord[];
  options: GetOrSetOptions<any>;
}

@Injectable()
export class BearCacheInterceptor implements NestInterceptor {
  constructor(@Inject(BEAR) private readonly bear: Bear) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const route = (Reflect as any).getMetadata(ROUTE, context.getHandler()) as Route | undefined;
    if (!route || context.getType() !== "http") return next.handle();
    const http = context.switchToHttp();
    const words = route.call(http.getRequest(), context);
    let isMade = false;
    const make = () => {
      isMade = true;
      return lastValueFrom(next.handle(), { defaultValue: null });
    };
    const answer = this.bear.getOrSet(route.space, words, make, route.options).then((value) => {
      setHeader(context, "X-Cache", isMade ? "MISS" : "HIT");
      return value;
    });
    return from(answer);
  }
}

/** Of Express, or of Fastify. */
export function setHeader(context: ExecutionContext, name: string, value: string): void {
  const response = context.switchToHttp().getResponse<{ setHeader?(name: string, value: string): void; header?(name: string, value: string): void }>();
  const set = response.setHeader ?? response.header;
  set?.call(response, name, value);
}

/** The route's answer is a value of `space`, whose words `call` makes of the request. The answer has a header `X-Cache`: `HIT` or `MISS`. */
export function CacheRoute(space: string, call: Route["call"], options: GetOrSetOptions<any> = {}): MethodDecorator {
  return applyDecorators(SetMetadata(ROUTE, { space, call, options } satisfies Route), UseInterceptors(BearCacheInterceptor)) as MethodDecorator;
}
