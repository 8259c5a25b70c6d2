// The questions of main.rs and requests.rs to Convert's JavaScript package: node official.mjs CONFIG PACKAGES

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const VISITORS = 1000;
const ROUNDS = 9;
const RUNS = 2000;
const KEY = 'checkout-experiment-0042';

const [config, packages] = process.argv.slice(2);
const bundle = join(packages, 'node_modules/@convertcom/js-sdk/lib/index.mjs');
const { default: ConvertSDK, LogLevel } = await import(pathToFileURL(bundle).href);
const started = (network) => new ConvertSDK({
  data: JSON.parse(readFileSync(config, 'utf8')),
  network,
  logger: { logLevel: LogLevel.SILENT },
});
const sdk = started({ tracking: false });
const contexts = Array.from({ length: VISITORS }, (_, n) =>
  sdk.createContext(`visitor-${String(n).padStart(9, '0')}`, { age: 30, plan: 'pro' }));
const costs = [];
for (let round = 0; round <= ROUNDS; round += 1) {
  const start = process.hrtime.bigint();
  for (let run = 0; run < RUNS; run += 1) {
    // Without a location map this SDK answers nothing.
    const options = { locationProperties: {}, enableTracking: false };
    const variation = contexts[run % VISITORS].runExperience(KEY, options);
    if (!variation?.key) throw new Error(`no variation: ${JSON.stringify(variation)}`);
  }
  // The first round warms up.
  if (round > 0) costs.push(Number(process.hrtime.bigint() - start) / RUNS);
}
const ascending = (costs) => costs.sort((a, b) => a - b);
ascending(costs);
const shown = [costs[0], costs[ROUNDS >> 1], costs[ROUNDS - 1]].map((cost) => cost.toFixed(0).padStart(8));
console.log(`${'Convert JavaScript 4.4.3'.padEnd(45)} ${shown.join(' ')}`);

// Whole requests. What is sent goes nowhere; without a sender the queue would grow, and each push searches it.
globalThis.fetch = async () => ({ status: 200, json: async () => ({}) });
const server = started({ tracking: true });
const BURST = 500;
const ASKED = [42, 43, 44].map((at) => `checkout-experiment-${String(at).padStart(4, '0')}`);

function ask(n) {
  const attributes = { country: 'GR', age: 30, browser: 'firefox', plan: 'pro', beta: true };
  const visitor = server.createContext(`visitor-${String(n).padStart(8, '0')}`, attributes);
  for (const key of ASKED) {
    const variation = visitor.runExperience(key, { locationProperties: {} });
    if (!variation?.key) throw new Error(`no variation: ${JSON.stringify(variation)}`);
  }
  visitor.trackConversion('purchase');
}

// Each request has a turn of the event loop for itself, as in a server, so that deliveries end; only its own part of
// the turn is timed, including the text of what it sends.
async function burst(first) {
  let cost = 0n;
  for (let n = first; n < first + BURST; n += 1) {
    const start = process.hrtime.bigint();
    ask(n);
    cost += process.hrtime.bigint() - start;
    await new Promise(setImmediate);
  }
  return Number(cost) / BURST;
}

// As in requests.rs, a burst of the same kind goes before each that counts.
const found = { known: [], fresh: [] };
for (let round = 1; round <= 2 * ROUNDS; round += 1) {
  const first = 2 * round * BURST;
  for (const [costs, before, measured] of [[found.known, 0, 0], [found.fresh, first, first + BURST]]) {
    await burst(before);
    costs.push(await burst(measured));
  }
}
const medians = [found.known, found.fresh].map((costs) => ascending(costs)[ROUNDS].toFixed(0).padStart(9));
console.log(`${'a request, Convert JavaScript 4.4.3'.padEnd(40)} ${medians.join(' ')}  recorded: what is new for the visitor`);
process.exit(0);
