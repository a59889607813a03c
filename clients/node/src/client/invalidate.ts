// BEAR.INVALIDATE: each method returns how many results are served no more.
import type { Reply, Word } from "./connection.js";
import type { CallWord } from "./bear.js";

export class Invalidate {
  constructor(
    private readonly send: (words: Word[]) => Promise<Reply>,
    /** Where it may wait: it asks Postgres. */
    private readonly sendAside: (words: Word[]) => Promise<Reply>,
  ) {}

  /** What contained one of these rows, in any space. */
  async row(space: string, ...ids: CallWord[]): Promise<number> {
    return ids.length === 0 ? 0 : Number(await this.send(["BEAR.INVALIDATE", space, "ROW", ...ids.map(String)]));
  }

  /** That, and what the rows belong in with the values that Postgres has now. After the COMMIT. */
  async changed(space: string, ...ids: CallWord[]): Promise<number> {
    return ids.length === 0 ? 0 : Number(await this.sendAside(["BEAR.INVALIDATE", space, "CHANGED", ...ids.map(String)]));
  }

  /** The same of one row with these values, without asking Postgres. */
  async image(space: string, values: object): Promise<number> {
    return Number(await this.send(["BEAR.INVALIDATE", space, "IMAGE", JSON.stringify(values)]));
  }

  /** What carries one of these tags. */
  async tag(space: string, ...tags: string[]): Promise<number> {
    return tags.length === 0 ? 0 : Number(await this.send(["BEAR.INVALIDATE", space, "TAG", ...tags]));
  }

  /** The result of one call. */
  async query(space: string, ...words: CallWord[]): Promise<number> {
    return Number(await this.send(["BEAR.INVALIDATE", space, "QUERY", ...words.map(String)]));
  }

  /** Results of the space whose key, behind the space and `:`, matches a glob. */
  async pattern(space: string, glob: string): Promise<number> {
    return Number(await this.send(["BEAR.INVALIDATE", space, "PATTERN", glob]));
  }

  /** All results of the space. */
  async all(space: string): Promise<number> {
    return Number(await this.send(["BEAR.INVALIDATE", space, "ALL"]));
  }
}
