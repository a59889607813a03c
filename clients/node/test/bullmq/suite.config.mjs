// How vitest runs BullMQ's own tests against bear; suite.mjs sets the variables.
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const checkout = process.env.BULLMQ_CHECKOUT;

export default {
  root: checkout,
  resolve: {
    // the backend, and what it takes from BullMQ, are those of the checkout
    alias: [
      { find: /^bullmq$/, replacement: `${checkout}/src/index.ts` },
      { find: /^checkout\/(.*)$/, replacement: `${checkout}/$1` },
      { find: /^bear-bullmq$/, replacement: here('../../src/bullmq/index.ts') },
    ],
  },
  test: {
    include: ['tests/**/*.test.ts'],
    exclude: ['node_modules/**'],
    testTimeout: Number(process.env.BULLMQ_TEST_TIMEOUT ?? 10_000),
    hookTimeout: 20_000,
    sequence: { concurrent: false },
    fileParallelism: false,
    setupFiles: [here('suite-setup.mjs')],
    globals: false,
  },
};
