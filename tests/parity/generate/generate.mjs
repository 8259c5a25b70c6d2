// Random config and request lines, determined by a seed.
//
//   node generate.mjs --profile js|python --seed S --requests N [--part I/N] [--config FILE]
//
// Config number i depends only on the seed, the profile and i, not on --part: part I/N has
// the configs whose number modulo N is I. Profile `js` mixes clean and odd configs.
// With --config the requests are drawn for that served config instead.

import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { parseArgs } from 'node:util';

import { ENVIRONMENTS, makeConfig } from './configs.mjs';
import { makeRequest } from './requests.mjs';
import { makePythonConfig, makePythonRequest } from './python_profile.mjs';
import { servedFor, makeServedRequest } from './served.mjs';
import { Random, toLine } from './random.mjs';

const REQUESTS_PER_CONFIG = 20;
const ODD_SHARE = 0.4;

const { values: options } = parseArgs({
  options: {
    profile: { type: 'string', default: 'js' },
    seed: { type: 'string' },
    requests: { type: 'string' },
    part: { type: 'string', default: '0/1' },
    config: { type: 'string' },
  },
});

function jsConfig(random) {
  const odd = random.chance(ODD_SHARE);
  return {
    profile: odd ? 'odd' : 'clean',
    sdkOptions: { environment: random.pick(ENVIRONMENTS), exclude_experience_id_hash: random.chance(0.15) },
    config: makeConfig(random, odd),
    request: (config) => makeRequest(random, config, odd),
  };
}

function pythonConfig(random) {
  return {
    profile: 'python',
    sdkOptions: { environment: random.pick(ENVIRONMENTS), exclude_experience_id_hash: false },
    config: makePythonConfig(random),
    request: (config) => makePythonRequest(random, config),
  };
}

function servedConfig(random, served) {
  return {
    profile: 'served',
    sdkOptions: { environment: random.pick(served.environments), exclude_experience_id_hash: false },
    config: served.config,
    request: () => makeServedRequest(random, served),
  };
}

function* lines(number, count, served) {
  const random = new Random(`${options.seed}/${options.profile}/${number}`);
  const make = { js: jsConfig, python: pythonConfig }[options.profile];
  const { profile, sdkOptions, config, request } = served ? servedConfig(random, served) : make(random);
  const id = `${options.profile}-${options.seed}-${number}`;
  yield { kind: 'config', id, profile, options: sdkOptions, config };
  for (let index = 0; index < count; index += 1) {
    yield { kind: 'request', id: `${id}-${index}`, config_ref: id, profile, request: request(config) };
  }
}

function coverage({ config, left_out: leftOut }) {
  const without = leftOut.length ? `, without ${leftOut.join(', ')}` : '';
  return `${options.profile}: ${config.experiences.length} experiences of the config${without}\n`;
}

async function main() {
  const served = options.config && servedFor(options.profile, JSON.parse(readFileSync(options.config, 'utf8')));
  const total = Number(options.requests);
  const [part, parts] = options.part.split('/').map(Number);
  if (served && part === 0) process.stderr.write(coverage(served));
  if (served && !served.config.experiences.length) return;
  for (let number = part; number * REQUESTS_PER_CONFIG < total; number += parts) {
    const count = Math.min(REQUESTS_PER_CONFIG, total - number * REQUESTS_PER_CONFIG);
    let text = '';
    for (const line of lines(number, count, served)) text += toLine(line);
    if (!process.stdout.write(text)) await once(process.stdout, 'drain');
  }
}

process.stdout.on('error', () => process.exit(0));
await main();
