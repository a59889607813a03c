// Before each file of BullMQ's tests: every queue is on bear.
import { createRequire } from 'node:module';
import { createIORedisClient } from 'checkout/src/classes/ioredis-client.ts';
import { setDefaultBackendFactory } from 'checkout/src/utils/create-backend.ts';
import { setConnectionFactory } from 'checkout/tests/utils/connection-factory.ts';
import { createBearBackend } from 'bear-bullmq';

const { Redis } = createRequire(`${process.env.BULLMQ_CHECKOUT}/`)('ioredis');
const port = Number(process.env.REDIS_PORT);
setConnectionFactory((options) =>
  createIORedisClient(
    new Redis({ host: options?.host ?? '127.0.0.1', port: options?.port ?? port, maxRetriesPerRequest: null }),
  ),
);
setDefaultBackendFactory(createBearBackend);
