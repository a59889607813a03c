// The jobs of bench/jobs.rs through BullMQ: all are added first, then 50 workers of this one process apply each by one
// SQL statement of its own. Prints the seconds that the workers took, and how many jobs completed and failed, as JSON.
//
//   node drain.js REDIS_PORT POSTGRES_URL FILE        a line of FILE: name, tab, payload
import { readFileSync } from 'node:fs';
import { Queue, Worker } from 'bullmq';
import pg from 'pg';

const WORKERS = 50;
const ADDED_AT_ONCE = 1000;
const PATIENCE_MS = 300_000;

// One round trip a job, prepared once a connection, its own transaction: the least that a job of its own can cost.
const STATEMENTS = {
    CREATE_BEAR: {
        text: `WITH b AS (INSERT INTO bear (name, size) VALUES ($1, $2) RETURNING id),
            k AS (INSERT INTO bear_colors SELECT b.id, c.id FROM b, color c WHERE c.name = ANY($3)) SELECT id FROM b`,
        values: (job) => [job.name, job.size, job.colors],
    },
    UPDATE_BEAR_NAME: {
        text: 'UPDATE bear SET name = $2 WHERE id = $1 RETURNING id',
        values: (job) => [job.id, job.name],
    },
    UPDATE_BEAR_SIZE: {
        text: 'UPDATE bear SET size = $2 WHERE id = $1 RETURNING id',
        values: (job) => [job.id, job.size],
    },
    UPDATE_BEAR_COLORS: {
        text: `WITH wanted AS (SELECT id FROM color WHERE name = ANY($2)),
            d AS (DELETE FROM bear_colors WHERE bear_id = $1 AND color_id <> ALL (SELECT id FROM wanted)),
            i AS (INSERT INTO bear_colors SELECT $1, id FROM wanted ON CONFLICT DO NOTHING)
            SELECT id FROM bear WHERE id = $1`,
        values: (job) => [job.id, job.colors],
    },
    DELETE_BEAR: { text: 'DELETE FROM bear WHERE id = $1 RETURNING id', values: (job) => [job.id] },
};

const [port, url, file] = process.argv.slice(2);
setTimeout(() => fail(`not done after ${PATIENCE_MS} ms`), PATIENCE_MS).unref();

function fail(reason) {
    console.error(`bullmq: ${reason}`);
    process.exit(1);
}

const connection = { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null };
const options = {
    attempts: 2,
    backoff: { type: 'exponential', delay: 2000 },
    removeOnComplete: { count: 100 },
    removeOnFail: { count: 500 },
};
const jobs = readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
        const [name, data] = line.split('\t');
        return { name, data: JSON.parse(data), opts: options };
    });

const pool = new pg.Pool({ connectionString: url, max: WORKERS });
pool.on('error', (error) => fail(error.message));

async function apply({ name, data }) {
    const { text, values } = STATEMENTS[name];
    const { rows } = await pool.query({ name, text, values: values(data) });
    if (rows.length === 0) throw new Error('no such bear');
    return rows[0].id;
}

const queue = new Queue('bear', { connection });
for (let at = 0; at < jobs.length; at += ADDED_AT_ONCE) {
    await queue.addBulk(jobs.slice(at, at + ADDED_AT_ONCE));
}
// Connections are there before the first job.
await Promise.all(Array.from({ length: WORKERS }, () => pool.query('SELECT pg_sleep(0.1)')));

const worker = new Worker('bear', apply, { connection, concurrency: WORKERS, autorun: false });
worker.on('error', (error) => fail(error.message));
let completed = 0;
let failed = 0;
const settled = new Promise((resolve) => {
    const look = () => completed + failed === jobs.length && resolve();
    worker.on('completed', () => look(completed++));
    worker.on('failed', (job) => job.attemptsMade >= options.attempts && look(failed++));
});
await worker.waitUntilReady();
const begun = process.hrtime.bigint();
worker.run().catch((error) => fail(error.message));
await settled;
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
await worker.close();
await queue.close();
await pool.end();
console.log(JSON.stringify({ seconds, completed, failed }));
