// The client: commands over the connection that the application has.
import { connectionOf, type Connection, type IoredisLike, type NodeRedisLike, type Word } from "./connection.js";
import { toBearError } from "./errors.js";

export class Bear {
  readonly connection: Connection;

  constructor(redis: IoredisLike | NodeRedisLike | Connection) {
    this.connection = connectionOf(redis);
  }

  /** The result of a call of the catalog, parsed. */
  async query<T = unknown>(space: string, ...words: Word[]): Promise<T> {
    try {
      return JSON.parse((await this.connection.call(["BEAR.QUERY", space, ...words])) as string) as T;
    } catch (error) {
      throw toBearError(error);
    }
  }
}
