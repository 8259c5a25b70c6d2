// The question of main.rs to Convert's JavaScript package: node official.mjs PACKAGES CONFIG
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [packages, config] = process.argv.slice(2);
const module = pathToFileURL(resolve(packages, 'node_modules/@convertcom/js-sdk/lib/index.mjs'));
const { default: ConvertSDK, LogLevel } = await import(module.href);

const VISITORS = 1000;
const ROUNDS = 9;
const RUNS = 2000;
const KEY = 'checkout-experiment-0042';

// The package asks every experience for its environment.
const data = JSON.parse(readFileSync(config));
data.experiences.forEach((experience) => { experience.environment = 'live'; });
const sdk = new ConvertSDK({
  data,
  environment: 'live',
  network: { tracking: false },
  logger: { logLevel: LogLevel.SILENT },
});
await sdk.onReady();
const contexts = Array.from({ length: VISITORS }, (_, n) =>
  sdk.createContext(`visitor-${String(n).padStart(9, '0')}`, { age: 30, plan: 'pro' }),
);
const costs = [];
for (let round = 0; round <= ROUNDS; round += 1) {
  const start = process.hrtime.bigint();
  for (let run = 0; run < RUNS; run += 1) {
    const answer = contexts[run % VISITORS].runExperience(KEY, { enableTracking: false });
    if (!answer?.key) throw new Error('no answer');
  }
  // The first round warms up.
  if (round > 0) costs.push(Number(process.hrtime.bigint() - start) / RUNS);
}
costs.sort((a, b) => a - b);
const shown = [costs[0], costs[ROUNDS >> 1], costs[ROUNDS - 1]].map((it) => it.toFixed(0).padStart(8));
console.log(`${'Convert JavaScript 4.4.3'.padEnd(45)} ${shown.join(' ')}`);
process.exit(0);
