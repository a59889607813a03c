// Jobs that do nothing through BullMQ: all are added first, then 50 workers of this one process take and complete them. Prints the
// seconds that took, the processor time of Redis in it (µs: its main thread, and all its threads), and how many completed.
//
//   node workers.js REDIS_PORT PAYLOAD COUNT
import { Redis } from 'ioredis';
import { Queue, Worker } from 'bullmq';

const WORKERS = 50;
const ADDED_AT_ONCE = 1000;
const PATIENCE_MS = 300_000;

const [port, payload, count] = process.argv.slice(2);
const jobs = Number(count);
setTimeout(() => fail(`not done after ${PATIENCE_MS} ms`), PATIENCE_MS).unref();

function fail(reason) {
    console.error(`bullmq: ${reason}`);
    process.exit(1);
}

const connection = { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null };
const redis = new Redis(connection);

/** Microseconds of processor time: of the main thread, and of all. */
async function cpu() {
    const info = await redis.info('cpu');
    const of = (name) => Number(info.match(new RegExp(`^${name}:(\\S+)`, 'm'))?.[1] ?? NaN) * 1e6;
    const sum = (suffix) => of(`used_cpu_sys${suffix}`) + of(`used_cpu_user${suffix}`);
    return [sum('_main_thread'), sum('')];
}

const job = { name: 'RUN', data: JSON.parse(payload) };
const queue = new Queue('work', { connection });
for (let at = 0; at < jobs; at += ADDED_AT_ONCE) {
    await queue.addBulk(Array(Math.min(ADDED_AT_ONCE, jobs - at)).fill(job));
}

// The least that it can do: nothing is kept of a job that is done, whose completion also fetches the next one.
const options = { connection, concurrency: WORKERS, autorun: false, removeOnComplete: { count: 0 } };
const worker = new Worker('work', async () => {}, options);
worker.on('error', (error) => fail(error.message));
worker.on('failed', (_, error) => fail(error.message));
let completed = 0;
const settled = new Promise((resolve) => worker.on('completed', () => ++completed === jobs && resolve()));
await worker.waitUntilReady();
const before = await cpu();
const begun = process.hrtime.bigint();
worker.run().catch((error) => fail(error.message));
await settled;
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
const after = await cpu();
await worker.close();
await queue.close();
redis.disconnect();
console.log(JSON.stringify({ seconds, completed, main_us: after[0] - before[0], all_us: after[1] - before[1] }));
