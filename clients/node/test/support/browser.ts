// Debian's Chromium, without a window.
import { existsSync } from "node:fs";
import { chromium, type Browser } from "playwright-core";

/** BEAR_TEST_CHROMIUM, or what a package of the distribution has put there. */
function program(): string {
  const chosen = process.env["BEAR_TEST_CHROMIUM"];
  if (chosen) return chosen;
  const found = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((each) => existsSync(each));
  if (!found) throw new Error("there is no Chromium; scripts/setup.sh node installs it, or BEAR_TEST_CHROMIUM names one");
  return found;
}

export function browser(): Promise<Browser> {
  return chromium.launch({
    executablePath: program(),
    // Its sandbox refuses root, and wants what many containers do not give; the pages are our own. Nor have these much shared memory.
    chromiumSandbox: false,
    args: ["--disable-dev-shm-usage", "--disable-gpu"],
  });
}
