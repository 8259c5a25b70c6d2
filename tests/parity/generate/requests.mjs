// Random requests for a config: the stored state, the visitor's data, and the questions.

import { attributes } from './rules.mjs';

const GOAL_VALUES = {
  amount: [10.3, 99, 0, 5.5, 1e6], productsCount: [1, 3], transactionId: ['tx-17429', 'tx-1'],
  customDimension1: ['dim'], customDimension5: ['größe'],
};

export function visitorId(random) {
  return random.weighted([
    [6, () => `user-${random.between(1, 999999)}`],
    [4, () => String(random.between(1, 2 ** 31))],
    [2, () => random.list(4, () => random.bits().toString(16)).join('-')],
    [2, () => `${random.pick(['anna', 'Jürgen', 'أحمد', '田中', 'ΣΊΣΥΦΟΣ'])}@example.com#${random.between(1, 9999)}`],
    [1, () => `${random.pick(['👍🏽', 'e\u0301', '\u00e9', '\u2028', '\u0000x', '"\\', '\ufeff'])}${random.between(1, 9999)}`],
    [1, () => ` ${random.between(1, 9999)} `],
    [1, () => 'x'.repeat(random.between(60, 300)) + random.between(1, 9999)],
  ]);
}

export function makeRequest(random, config, odd) {
  const experienceKeys = [...new Set(config.experiences.map((one) => one.key))];
  if (random.chance(0.1)) experienceKeys.push('no-such-experience');
  const request = {
    visitor_id: random.chance(0.01) ? '' : visitorId(random),
    experience_keys: experienceKeys,
    feature_keys: random.chance(0.4) ? config.features.map((one) => one.key) : [],
  };
  if (random.chance(0.03)) request.feature_keys.push('no-such-feature');
  if (random.chance(0.9)) request.attributes = random.chance(0.08) ? null : attributes(random, 'visitor', odd);
  if (random.chance(0.3)) request.call_attributes = attributes(random, 'visitor', odd, 0.25);
  if (random.chance(0.85)) request.location = random.chance(0.08) ? null : attributes(random, 'location', odd, 0.8);
  if (random.chance(0.4)) request.state = storedState(random, config);
  if (random.chance(0.25)) request.default_segments = defaultSegments(random);
  if (random.chance(0.3)) request.custom_segments = customSegments(random, config, odd);
  if (random.chance(0.6)) request.conversions = random.list(random.between(1, 3), () => conversion(random, config, odd));
  if (odd && random.chance(0.1)) clash(random, request);
  if (request.feature_keys.length) featureOptions(random, request, experienceKeys);
  return request;
}

// The two sides of a merge have lists and maps under one name.
function clash(random, request) {
  const sides = random.shuffled([['a', 'vip'], { tier: 'gold', 0: 'x' }]);
  const key = random.pick(['tags', 'meta']);
  request.attributes = { ...request.attributes, [key]: sides[0] };
  request.call_attributes = { ...request.call_attributes, [key]: random.chance(0.3) ? sides[0] : sides[1] };
}

function storedState(random, config) {
  const state = {};
  if (random.chance(0.85)) state.bucketing = storedDecisions(random, config);
  if (random.chance(0.3)) state.goals = random.some(config.goals, random.between(1, 2)).map((one) => one.key);
  if (random.chance(0.35)) state.custom_segments = random.some(config.segments, random.between(1, 2)).map((one) => one.id);
  if (random.chance(0.2)) state.segments = { country: random.pick(['US', 'DE', 'us']), ...(random.chance(0.3) ? { browser: 'SF' } : {}) };
  return state;
}

export function storedDecisions(random, config) {
  const stored = {};
  for (const { id, variations } of config.experiences) {
    if (!variations?.length || random.chance(0.6)) continue;
    stored[id] = random.chance(0.1) ? 'gone' : random.pick(variations).id;
  }
  if (random.chance(0.1)) stored['404404'] = '1';
  return stored;
}

function defaultSegments(random) {
  const segments = attributes(random, 'visitor', false, 0.3);
  return Object.fromEntries(Object.entries(segments).filter(([key]) => key !== 'note'));
}

function customSegments(random, config, odd) {
  const keys = random.some(config.segments, random.between(1, 3)).map((one) => one.key);
  if (random.chance(0.1)) keys.push('no-such-segment');
  return { keys, rule_data: random.chance(0.4) ? null : attributes(random, 'visitor', odd, 0.5) };
}

function conversion(random, config, odd) {
  const made = { goal_key: random.chance(0.06) ? 'no-such-goal' : random.pick(config.goals).key };
  if (random.chance(0.25)) made.rule_data = attributes(random, 'goal', odd);
  if (random.chance(0.5)) made.goal_data = goalData(random);
  if (random.chance(0.25)) made.force_multiple = true;
  return made;
}

function goalData(random) {
  const keys = random.some(Object.keys(GOAL_VALUES), random.between(0, 3));
  return keys.map((key) => ({ key, value: random.pick(GOAL_VALUES[key]) }));
}

function featureOptions(random, request, experienceKeys) {
  if (random.chance(0.12)) {
    const keys = random.some(experienceKeys, random.between(0, 2));
    request.feature_experience_keys = random.chance(0.15) ? ['no-such-experience'] : keys;
  }
  if (random.chance(0.12)) request.type_casting = false;
}
