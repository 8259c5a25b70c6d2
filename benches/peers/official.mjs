// The question of main.rs to Convert's JavaScript package: node official.mjs CONFIG PACKAGES

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
const sdk = new ConvertSDK({
  data: JSON.parse(readFileSync(config, 'utf8')),
  network: { tracking: false },
  logger: { logLevel: LogLevel.SILENT },
});
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
costs.sort((a, b) => a - b);
const shown = [costs[0], costs[ROUNDS >> 1], costs[ROUNDS - 1]].map((cost) => cost.toFixed(0).padStart(8));
console.log(`${'Convert JavaScript 4.4.3'.padEnd(45)} ${shown.join(' ')}`);
