// Bull Board's page in a browser: what somebody sees and presses, for jobs of each kind. Its pictures are those of the
// book: they are left in target/board.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { before, it } from "node:test";
import { Worker, type Bear } from "bear";
import { BearAdapter } from "bear/bull-board";
import type { Locator, Page } from "playwright-core";
import { Board } from "../support/board.js";
import { browser } from "../support/browser.js";
import { eventually } from "../support/processes.js";
import { root, type BearServer } from "../support/server.js";
import { atEnd, bearOf, ONE, shop } from "../support/shop.js";

const pictures = join(root, "clients/node/target/board");
let server: BearServer;
let bear: Bear;
let board: Board;
let page: Page;
/** What the page said that is no picture: errors of scripts, and answers that are none. */
const wrong: string[] = [];

before(async () => {
  server = await shop({ catalog: "clients/node/test/catalogs/board.toml" });
  ({ bear } = await bearOf(ONE, server.url));
  const queues = [
    new BearAdapter(bear, "product", { displayName: "Prices", description: "Applied to Postgres" }),
    new BearAdapter(bear, "mail", { displayName: "E-mail" }),
    new BearAdapter(bear, "{anna}:note"),
    new BearAdapter(bear, "no-such-section"),
  ];
  for (const queue of queues) atEnd(() => queue.close());
  board = await Board.start(queues);
  const chromium = await browser();
  atEnd(() => chromium.close());
  page = await chromium.newPage({ viewport: { width: 1280, height: 800 }, locale: "en-US", timezoneId: "UTC", colorScheme: "light" });
  page.setDefaultTimeout(15_000);
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("response", (response) => response.status() >= 500 && wrong.push(`${response.status()} ${response.url()}`));
  mkdirSync(pictures, { recursive: true });
});

const picture = (name: string) => page.screenshot({ path: join(pictures, `${name}.png`), animations: "disabled" });
const visit = (path: string) => page.goto(`${board.url}${path}`, { waitUntil: "domcontentloaded" });
const shown = (text: string | RegExp): Locator => page.getByText(text).first();

/** The buttons of the job that is shown first; the board has pictures for their names. */
const BUTTONS = { retry: 0, duplicate: 1, update: 2, remove: 3 };
const press = async (button: keyof typeof BUTTONS) => {
  await page.locator('[class*="jobActions"]').first().getByRole("button").nth(BUTTONS[button]).click();
  await page.getByRole("button", { name: "Confirm" }).click();
};
/** Of the menu behind the three dots. */
const open = async (item: string) => {
  await page.locator('main [class*="trigger"]').last().click();
  await page.getByRole("menuitem", { name: item, exact: true }).click();
};
const choose = async (item: string) => {
  await open(item);
  await page.getByRole("button", { name: "Confirm" }).click();
};
const failedOf = async (space: string) => (await bear.jobs(space, "failed", { newest: true }))[0];

const KINDS = [
  { space: "product", name: "Prices", job: "SET_PRICE", good: (n: number) => ({ id: 1 + (n % 3), price: n + 1 }), bad: { id: 2, price: -1 }, error: "a price is not below 0" },
  { space: "mail", name: "E-mail", job: "SEND", good: (n: number) => ({ to: `guest-${n}@example.org`, subject: "Hello" }), bad: { to: "nobody", subject: "Hello" }, error: "no such address" },
];

for (const { space, name, job, good, bad, error } of KINDS) {
  it(`${space}: seen, opened, retried, removed, paused`, async () => {
    if (space === "mail") {
      const worker = new Worker(bear, "mail", async (each) => {
        const { to } = each.data as { to: string };
        await each.log(`to ${to}`);
        if (to === "nobody") throw Object.assign(new Error("no such address"), { stack: "Error: no such address\n    at Mailer.send (mailer.ts:12:9)\n    at Mailer.work (mailer.ts:31:5)" });
        return { sent: to };
      }, { name: "mailer" });
      atEnd(() => worker.close());
    }
    for (let n = 0; n < 12; n++) await bear.wait(space, await bear.enqueue(space, job, good(n)));
    await bear.enqueue(space, job, good(0), { delay: 3_600_000 });
    const first = await bear.enqueue(space, job, bad, { attempts: 1 });
    await bear.wait(space, first);

    await visit("/");
    await page.getByRole("link", { name, exact: true }).click();
    await page.getByRole("heading", { name }).waitFor();
    await page.getByRole("link", { name: /^Failed/i }).first().click();
    await shown(first).waitFor();
    await picture(`${space}-failed`);
    await page.getByRole("link", { name: first }).click();
    await page.waitForURL(`**/queue/${space}/${first}**`);
    await shown(error).waitFor();
    await picture(`${space}-job`);

    await press("retry");
    const second = await eventually("another has failed", async () => {
      const failed = await failedOf(space);
      return failed?.id === first ? undefined : failed;
    });
    await visit(`/queue/${space}?status=failed`);
    await shown(second.id).waitFor();
    await press("remove");
    await eventually("it is removed", async () => (await bear.job(space, second.id)) === null);
    await shown(second.id).waitFor({ state: "detached" });

    await choose("Pause");
    await eventually("it is paused", async () => (await bear.stats(space)).paused === 1);
    await shown(/paused/i).waitFor();
    await picture(`${space}-paused`);
    await choose("Resume");
    await eventually("it goes on", async () => (await bear.stats(space)).paused === 0);
    assert.deepEqual(wrong, []);
  });
}

it("a job is added with the payload that the catalog's schema begins", async () => {
  await visit("/queue/mail");
  await page.getByRole("heading", { name: "E-mail" }).waitFor();
  await open("Add job");
  const dialog = page.getByRole("dialog");
  await dialog.getByText(/"subject"/).first().waitFor();
  await picture("add");
  await dialog.getByRole("button", { name: "Add", exact: true }).click();
  const added = await eventually("it is done", async () => (await bear.jobs<{ to: string }>("mail", "completed", { newest: true, count: 1 })).find(({ data }) => data?.to === ""));
  assert.deepEqual([added.job, added.data], ["SEND", { subject: "", to: "" }]);
  assert.deepEqual(wrong, []);
});

it("a section that is not there is one card, and the others stand", async () => {
  await visit("/");
  await shown("no-such-section (unavailable)").waitFor();
  await picture("overview");
  await visit("/queue/no-such-section");
  await shown(/^unavailable: no section is called 'no-such-section'/).waitFor();
  await visit(`/queue/${encodeURIComponent("{anna}:note")}`);
  await page.getByRole("heading", { name: "{anna}:note" }).waitFor();
  await visit("/job-schedulers");
  await shown("digest").waitFor();
  await picture("schedules");
  assert.deepEqual(wrong, []);
});
