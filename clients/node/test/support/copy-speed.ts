// How long a hit in the process takes, in ns: `node copy-speed.js redis://…`.
import { Redis } from "ioredis";
import { Bear } from "bear";

const redis = new Redis(process.argv[2] as string);
const bear = new Bear(redis, { l1: { ttl: 60_000 } });
while (bear.l1Stats()?.hits === 0) {
  await bear.query("product", 6);
  await new Promise((resolve) => setTimeout(resolve, 5));
}
const rounds: number[] = [];
for (let round = 0; round < 40; round++) {
  const count = 100_000;
  const begun = performance.now();
  for (let at = 0; at < count; at++) await bear.query("product", 6);
  rounds.push(((performance.now() - begun) / count) * 1e6);
}
rounds.sort((a, b) => a - b);
console.log(JSON.stringify({ best: rounds[0], median: rounds[20] }));
await bear.close();
redis.disconnect();
