// Requests for a served config: visitors drawn from the config's own rule keys and values.
//
// Each oracle gets a copy of the config reduced to what it decides like this SDK. For JavaScript
// every experience gets the packed layout and exclusion audiences are removed; the rest stays. For
// Python the layout, mutual exclusion and plain audiences stay; locations, site areas, environments,
// archiving, segments and other rules are removed. Experiences that cannot be reduced are left out.

import { storedDecisions, visitorId } from './requests.mjs';
import { preview } from './python_profile.mjs';
import { REPORT_KEYS } from './rules.mjs';

const EXCLUSION = 'bucketed_into_experience_key';
const ANCHORED_FROM = 11;
const PLAIN_MATCHES = ['equals', 'matches', 'contains', 'startsWith', 'endsWith', 'isIn', 'equalsNumber', 'exists', 'doesNotExist'];
const FALLBACK_ENVIRONMENT = 'production';

export function servedFor(profile, served) {
  const experiences = asList(served.experiences);
  const config = profile === 'python' ? forPython(served, experiences) : forJs(served, experiences);
  const environments = experiences.map((one) => one.environment).filter((one) => typeof one === 'string' && one);
  const kept = config.experiences.map((one) => one.key);
  return {
    config,
    profile,
    environments: [...new Set([FALLBACK_ENVIRONMENT, ...environments])],
    left_out: experiences.map((one) => one.key).filter((key) => !kept.includes(key)),
    visitor: valuesByKey([...asList(served.audiences), ...asList(served.segments)].map((one) => one.rules)),
    location: valuesByKey([...asList(served.locations).map((one) => one.rules), ...experiences.map((one) => one.site_area)]),
    goal: valuesByKey(asList(served.goals).map((one) => one.rules)),
  };
}

function forJs(served, experiences) {
  const excludes = (one) => items(one.rules).some((item) => item.rule_type === EXCLUSION);
  return {
    ...served,
    audiences: asList(served.audiences).filter((one) => !excludes(one)),
    experiences: experiences.filter(textIds).map(packed),
  };
}

function packed(experience) {
  return Number(experience.version) > ANCHORED_FROM ? { ...experience, version: ANCHORED_FROM } : experience;
}

function forPython(served, experiences) {
  const audiences = asList(served.audiences).filter((one) => typeof one.id === 'string' && plainRules(one.rules));
  return {
    ...served,
    archived_experiences: [],
    audiences: audiences.map((one) => ({ ...one, type: 'transient' })),
    experiences: experiences.filter(pythonDecides).map((one) => bare(one, audiences.map(({ id }) => id))),
  };
}

function pythonDecides(experience) {
  return textIds(experience) && asList(experience.variations).every(plainVariation)
    && (Number(experience.version) > ANCHORED_FROM || ascending(experience.variations));
}

function bare({ locations, site_area: area, environment, ...experience }, known) {
  return { ...experience, audiences: asList(experience.audiences).filter((id) => known.includes(id)) };
}

function textIds(experience) {
  return [experience, ...asList(experience.variations)].every((one) => typeof one.id === 'string');
}

function plainRules(rules) {
  const all = items(rules);
  const excluding = all.filter((item) => item.rule_type === EXCLUSION);
  if (excluding.length) return all.length === 1;
  return all.length > 0 && all.every((item) => typeof item.key === 'string' && PLAIN_MATCHES.includes(item.matching?.match_type)
    && typeof item.matching.negated === 'boolean' && typeof item.value === 'string');
}

function plainVariation({ traffic_allocation: weight, status }) {
  return (weight === undefined || typeof weight === 'number')
    && (status === undefined || ['running', 'stopped'].includes(status));
}

function ascending(variations) {
  const ids = asList(variations).map((one) => Number(one.id));
  return ids.every((id, index) => Number.isInteger(id) && (index === 0 || ids[index - 1] < id));
}

function items(rules) {
  return asList(rules?.OR).flatMap((branch) => asList(branch?.AND)).flatMap((block) => asList(block?.OR_WHEN)).filter(Boolean);
}

function valuesByKey(ruleSets) {
  const values = {};
  for (const { key, value } of ruleSets.flatMap(items)) {
    if (typeof key !== 'string') continue;
    values[key] ??= new Set();
    for (const one of typeof value === 'string' ? value.split('|') : asList(value, [value])) values[key].add(one);
  }
  return Object.fromEntries(Object.entries(values).map(([key, set]) => [key, [...set].filter((one) => one !== undefined)]));
}

function asList(value, otherwise = []) {
  return Array.isArray(value) ? value : otherwise;
}

export function makeServedRequest(random, served) {
  const { config, profile } = served;
  const plain = profile === 'python';
  const request = {
    visitor_id: visitorId(random),
    experience_keys: [...new Set(config.experiences.map((one) => one.key))],
    feature_keys: !plain && random.chance(0.4) ? asList(config.features).map((one) => one.key) : [],
    attributes: drawn(random, served.visitor, plain, 0.8),
  };
  if (random.chance(0.3)) request.call_attributes = drawn(random, served.visitor, plain, 0.2);
  if (random.chance(0.4)) request.state = { bucketing: storedDecisions(random, config) };
  if (plain) {
    if (random.chance(0.3)) request.preview = preview(random, config);
    return request;
  }
  request.location = drawn(random, served.location, plain, 0.9);
  if (asList(config.segments).length && random.chance(0.4)) {
    request.custom_segments = { keys: random.some(config.segments, 2).map((one) => one.key), rule_data: null };
  }
  if (asList(config.goals).length && random.chance(0.5)) {
    request.conversions = [{ goal_key: random.pick(config.goals).key, ...(random.chance(0.4) ? { rule_data: drawn(random, served.goal, false, 0.9) } : {}) }];
  }
  return request;
}

function drawn(random, pools, plain, share) {
  const keys = Object.keys(pools).filter((key) => random.chance(share) && pools[key].length && !(plain && REPORT_KEYS.includes(key) && random.chance(0.5)));
  const pairs = keys.map((key) => [key, nearby(random, random.pick(pools[key]), plain)]);
  return Object.fromEntries(pairs.filter(([, value]) => !plain || typeof value === 'string'));
}

// A value from the config itself, or one that just misses it.
function nearby(random, value, plain) {
  if (typeof value === 'number') return random.pick([value, value, value - 1, value + 1, String(value)]);
  if (typeof value !== 'string') return value;
  const numeric = value.trim() !== '' && Number.isFinite(Number(value));
  if (numeric && !plain) return random.pick([value, Number(value), Number(value) + 1, Number(value) - 1]);
  return random.pick([value, value, value.toLowerCase(), value.toUpperCase(), `${value}x`, `x${value}`]);
}
