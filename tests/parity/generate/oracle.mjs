// The JavaScript oracle: answers request lines with the published JavaScript SDK, run in this process.
//
//   node oracle.mjs --packages DIR < lines.jsonl > answered.jsonl
//
// A request line is passed on verbatim, with `expected` appended; other lines pass through.
// DIR is where `npm install` put the package. Nothing is sent: `fetch` is replaced.
// --throws also writes {"throws": name} where the SDK throws; without it such a part is left out,
// because this SDK promises nothing there.

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { once } from 'node:events';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    packages: { type: 'string' },
    throws: { type: 'boolean', default: false },
  },
});

const SDK_PATH = 'node_modules/@convertcom/js-sdk/lib/index.mjs';
const NEVER_RELEASE_BY_SIZE = 1e9;
const THROWN = Symbol('the part threw');

let sentBody = null;
globalThis.fetch = async (_url, request) => {
  sentBody = request.body;
  return { status: 200, statusText: 'OK', headers: {}, json: async () => ({}) };
};

const { default: ConvertSDK, LogLevel, SystemEvents } = await import(
  pathToFileURL(join(options.packages, SDK_PATH)).href
);

// One SDK per config line; `startFrom` resets a visitor to a given state between the parts.
class Subject {
  constructor({ config, options: sdkOptions = {} }) {
    keepVariablesRaw(config);
    this.sdk = new ConvertSDK({
      data: config,
      environment: sdkOptions.environment,
      bucketing: { excludeExperienceIdHash: Boolean(sdkOptions.exclude_experience_id_hash) },
      events: { batch_size: NEVER_RELEASE_BY_SIZE },
      network: { tracking: false },
      logger: { logLevel: LogLevel.SILENT },
    });
    this.data = this.sdk._dataManager;
    this.api = this.sdk._apiManager;
    this.converted = 0;
    this.sdk.on(SystemEvents.CONVERSION, () => { this.converted += 1; });
  }

  startFrom(visitorId, state) {
    this.data.reset();
    this.api._requestsQueue.reset();
    if (state) this.data._bucketedVisitors.set(this.data.getStoreKey(visitorId), state);
  }

  queued() {
    return this.api._requestsQueue.length;
  }
}

// The SDK casts feature variables in place, so a second call would cast the result of the
// first. A getter returns a fresh copy each time.
function keepVariablesRaw(config) {
  for (const experience of asList(config.experiences)) {
    for (const variation of asList(experience?.variations)) {
      for (const change of asList(variation?.changes)) {
        const raw = change?.data?.variables_data;
        if (raw === null || typeof raw !== 'object') continue;
        const copy = Array.isArray(raw) ? () => [...raw] : () => ({ ...raw });
        Object.defineProperty(change.data, 'variables_data', { get: copy, set() {}, enumerable: true });
      }
    }
  }
}

async function answer(subject, request) {
  const expected = {};
  const call = {
    visitorProperties: request.call_attributes ?? {},
    locationProperties: request.location ?? {},
  };
  const { context, prepared } = prepare(subject, request, expected);
  // If the preparation throws, the stored state differs from what this SDK would store.
  if (request.custom_segments && !expected.custom_segments) return {};
  const restart = () => subject.startFrom(request.visitor_id, prepared);

  expected.decisions = {};
  for (const key of request.experience_keys) {
    restart();
    put(expected.decisions, key, attempt(() => decision(context.runExperience(key, { ...call }))));
  }
  restart();
  await answerSequence(subject, context, request, call, expected);
  if (request.feature_keys.length) answerFeatures(context, request, call, restart, expected);
  return expected;
}

// A sequence ends at its first throw: what follows would start from an incomplete run.
async function answerSequence(subject, context, request, call, expected) {
  const runAll = () => pairs(context.runExperiences({ ...call }));
  const steps = [['run_experiences', runAll], ['run_experiences_again', runAll]];
  if (request.conversions) {
    steps.push(['conversions', () => request.conversions.map((one) => convert(subject, context, one))]);
  }
  for (const [part, step] of steps) {
    const answered = attempt(step);
    if (answered === THROWN) return;
    expected[part] = answered;
  }
  expected.payload = await payload(context);
}

function prepare(subject, request, expected) {
  const visitorId = request.visitor_id;
  subject.startFrom(visitorId, null);
  const stored = storedState(request.state);
  if (stored) subject.data.putData(visitorId, stored);
  const context = subject.sdk.createContext(visitorId, request.attributes ?? undefined);
  if (request.default_segments) context.setDefaultSegments(request.default_segments);
  if (request.custom_segments) {
    const before = recordedSegments(context);
    const { keys, rule_data: ruleData } = request.custom_segments;
    put(expected, 'custom_segments', attempt(() => {
      context.runCustomSegments(keys, { ruleData: ruleData ?? {} });
      return { matched: recordedSegments(context).filter((id) => !before.includes(id)) };
    }));
  }
  const prepared = subject.data.getData(visitorId);
  return { context, prepared: freeze(prepared) };
}

function storedState(state) {
  if (!state) return null;
  const stored = {};
  // In the SDKs' shared format, missing decisions and an empty set of them are the same.
  if (Object.keys(state.bucketing ?? {}).length > 0) stored.bucketing = state.bucketing;
  if (state.goals) stored.goals = Object.fromEntries(state.goals.map((key) => [key, true]));
  if (state.segments || state.custom_segments) {
    stored.segments = { ...state.segments };
    if (state.custom_segments) stored.segments.customSegments = state.custom_segments;
  }
  return stored;
}

function recordedSegments(context) {
  return context.getVisitorData().segments?.customSegments ?? [];
}

function answerFeatures(context, request, call, restart, expected) {
  const featureCall = { ...call };
  if (request.type_casting !== undefined) featureCall.typeCasting = request.type_casting;
  expected.features = {};
  for (const key of request.feature_keys) {
    restart();
    const single = { ...featureCall, experienceKeys: request.feature_experience_keys };
    put(expected.features, key, attempt(() => features(context.runFeature(key, single))));
  }
  restart();
  put(expected, 'run_features', attempt(() => features(context.runFeatures(featureCall))));
}

function decision(result) {
  if (result === undefined) return { none: 'no_visitor' };
  if (result === null) return { none: 'no_match' };
  if (typeof result !== 'object') return { none: 'not_decided' };
  const answered = { variation_id: String(result.id) };
  if (result.bucketingAllocation !== undefined) answered.bucket = result.bucketingAllocation;
  return answered;
}

function pairs(results) {
  if (results === undefined) return { none: 'no_visitor' };
  return results.map((one) => [one.experienceKey, String(one.id)]);
}

function convert(subject, context, conversion) {
  const [converted, queued] = [subject.converted, subject.queued()];
  context.trackConversion(conversion.goal_key, {
    ruleData: conversion.rule_data,
    conversionData: conversion.goal_data,
    conversionSetting: conversion.force_multiple ? { forceMultipleTransactions: true } : undefined,
  });
  return { accepted: subject.converted > converted, events: subject.queued() - queued };
}

async function payload(context) {
  sentBody = null;
  await context.releaseQueues('oracle');
  return sentBody === null ? [] : JSON.parse(sentBody).visitors;
}

function features(result) {
  if (result === undefined) return { none: 'no_visitor' };
  return asList(Array.isArray(result) ? result : [result]).map(feature);
}

function feature(found) {
  const answered = { key: writable(found.key) };
  if (found.id !== undefined) answered.id = found.id;
  answered.status = found.status;
  if (found.status === 'enabled') {
    answered.experience_key = found.experienceKey;
    answered.variables = writable(found.variables);
  }
  return answered;
}

// Values that JSON lacks are spelled out.
function writable(value) {
  if (value === undefined) return { $js: 'undefined' };
  if (typeof value === 'number' && !Number.isFinite(value)) return { $js: String(value) };
  if (Array.isArray(value)) return value.map(writable);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, writable(one)]));
}

function attempt(part) {
  try {
    return part();
  } catch (error) {
    return options.throws ? { throws: error.name } : THROWN;
  }
}

function put(target, key, value) {
  if (value !== THROWN) target[key] = value;
}

function asList(value) {
  return Array.isArray(value) ? value : [];
}

function freeze(value) {
  if (value !== null && typeof value === 'object' && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(freeze);
  }
  return value;
}

// Deliberately wrong answers, to prove that the comparison and the shrinking notice them.
const PLANTS = {
  decisions(expected) {
    for (const [key, one] of Object.entries(expected.decisions ?? {})) {
      if (one.bucket !== undefined && one.variation_id.endsWith('7')) expected.decisions[key] = { none: 'not_decided' };
    }
  },
  payload(expected) {
    for (const visitor of expected.payload ?? []) {
      if (visitor.segments?.customSegments?.length > 1) visitor.segments.customSegments.pop();
    }
  },
  features(expected) {
    for (const one of Object.values(expected.features ?? {}).flat()) {
      if (one.variables?.integer_var === 12) one.variables.integer_var = 13;
    }
  },
};
const plant = PLANTS[process.env.PARITY_PLANT] ?? (() => {});

// Appending preserves the request's numbers (30.0, 1e+21) as the generator wrote them.
function append(line, expected) {
  return `${line.slice(0, line.lastIndexOf('}'))},"expected":${JSON.stringify(expected)}}\n`;
}

// Not `readline`, which also splits at U+2028, and JSON text may contain that.
async function* linesOf(stream) {
  let rest = '';
  for await (const chunk of stream.setEncoding('utf8')) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    yield* lines;
  }
  if (rest) yield rest;
}

async function main() {
  const subjects = new Map();
  for await (const line of linesOf(process.stdin)) {
    const document = JSON.parse(line);
    let answered = `${line}\n`;
    if (document.kind === 'config') {
      subjects.clear();
      subjects.set(document.id, new Subject(document));
    } else if (document.kind === 'request') {
      const expected = await answer(subjects.get(document.config_ref), document.request);
      plant(expected);
      answered = append(line, expected);
    }
    if (!process.stdout.write(answered)) await once(process.stdout, 'drain');
  }
}

await main();
