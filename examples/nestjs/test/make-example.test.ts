// `make example`, on the module that the tests have.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { it } from "node:test";
import { eventually } from "../../../clients/node/test/support/processes.js";
import { modulePath, root } from "../../../clients/node/test/support/server.js";

it("starts servers and the service, and leaves nothing behind after Ctrl-C", async () => {
  // in a group of its own, which Ctrl-C in a terminal would reach as a whole
  const script = spawn("scripts/example.sh", { cwd: root, detached: true, env: { ...process.env, BEAR_MODULE: modulePath() }, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(script, "exit");
  const interrupt = () => void (script.exitCode === null && process.kill(-(script.pid as number), "SIGINT"));
  process.on("exit", interrupt);
  let said = "";
  for (const stream of [script.stdout, script.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (said += text));
  const found = (pattern: RegExp) => pattern.exec(said)?.[1] ?? assert.fail(`${pattern} in\n${said}`);
  try {
    await eventually("it is ready", () => script.exitCode !== null || said.includes("Ctrl-C stops all"), 150_000);
    const url = found(/The service runs: (\S+),/);
    assert.equal((await fetch(`${url}/health`)).status, 200);
    assert.equal(((await (await fetch(`${url}/bear/5`)).json()) as { name: string }).name, "Sun 5");
    assert.equal((await fetch(found(/its queues on (\S+)/))).status, 200);
    const folder = dirname(found(/Logs: +([^,]+),/));
    assert.ok(existsSync(folder));
    interrupt();
    assert.deepEqual(await ended, [0, null]);
    assert.match(said, /bear is stopped\.\n$/);
    assert.equal(existsSync(folder), false);
    await assert.rejects(fetch(url));
  } finally {
    interrupt();
    await ended;
  }
});
