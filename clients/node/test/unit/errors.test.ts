import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isConnectionError } from "bear";
import { ConnectionTimeoutError, SocketClosedUnexpectedlyError, TimeoutError } from "redis";

describe("what is told apart from the server's own errors", () => {
  it("node-redis' words for a connection that does not answer", () => {
    for (const error of [new TimeoutError(), new ConnectionTimeoutError(), new SocketClosedUnexpectedlyError()]) {
      assert.ok(isConnectionError(error), error.constructor.name);
    }
  });

  it("an error of the program is none, nor is the end of its own time", () => {
    for (const error of [new Error("oops"), new TypeError("Socket closed"), AbortSignal.abort(new DOMException("", "TimeoutError")).reason]) {
      assert.ok(!isConnectionError(error), String(error));
    }
  });
});
