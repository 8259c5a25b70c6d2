// Configs and requests for the Python oracle: what npm's package lacks (the anchored layout, mutual
// exclusion, preview), and otherwise only what the Python package decides like this SDK.
//
// Excluded: locations, site areas, archived experiences, environments, permanent audiences, segments
// among the audiences, ids that do not resolve, packed variations with ids out of order, odd
// weights and statuses, rules on anything but plain text and plain numbers, attributes merged from
// two sides, and features in configs with exclusion (where this SDK's feature calls store decisions).

import { storedDecisions, visitorId } from './requests.mjs';
import { written } from './random.mjs';

const POOLS = {
  country: ['US', 'us', 'DE', 'GB', 'CH'],
  plan: ['pro', 'PRO', 'free', 'Enterprise', 'b|c'],
  email: ['Ann@Example.com', 'bob@test.io', 'ÄRGER@example.de'],
  city: ['Zürich', 'São Paulo', 'New York', 'köln'],
  age: [17, 18, 21, 30, 65],
  score: [-3, 0, 5, 7.5, 1000],
};
const TEXT_MATCHES = ['equals', 'matches', 'contains', 'startsWith', 'endsWith', 'isIn', 'regexMatches', 'exists', 'doesNotExist'];
const NUMBER_MATCHES = ['equals', 'equalsNumber', 'less', 'lessEqual', 'exists', 'doesNotExist'];
const VERSIONS = [12, 12, 12, 13, '12', '12.0', written('12.0'), 11.5, 11, 11, 10, null];
const WEIGHTS = [[50, 50], [33.33, 33.33, 33.34], [10, 10, 10], [0.1, 0.2], [100], [25, 25, 25, 25], [150, 20],
  [60, 60], [0, 100], [50, 0, 50], [1.1, 1.1, 97.8], [0, 0], [92.92880389839411, 7.07119610160589], [20, 30]];
const VARIABLES = {
  boolean: [true, false, 'true', 'false'], integer: [0, 12, -7, '12', '-7', '007'], float: [1.5, 3, '2.75', '0.1'],
  string: ['', 'Buy now', 'Größe ✓', '42'], json: [{ a: 1 }, [1, 2], '{"a":[1,{"b":null}]}', '"quoted"', '12', 'not json'],
};

export function makePythonConfig(random) {
  const excluding = random.chance(0.6);
  const count = random.between(2, 7);
  const keys = random.list(count, (index) => `${random.pick(['hero', 'menu', 'cart'])}-${index}`);
  const audiences = random.list(random.between(2, 5), (index) => audience(random, index, excluding ? keys : null));
  const features = random.list(random.between(1, 3), (index) => feature(random, index));
  const experiences = keys.map((key, index) => experience(random, key, index, audiences, features));
  return {
    account_id: '10012345', project: { id: '10054321', name: 'Project' },
    experiences, audiences, features, goals: [], segments: [], locations: [],
  };
}

function audience(random, index, targets) {
  const excludes = targets && random.chance(0.6);
  return {
    id: String(7000000 + index), key: `audience-${index}`, name: `Audience ${index}`, type: 'transient',
    rules: excludes ? exclusion(random, targets) : rules(random),
  };
}

function exclusion(random, targets) {
  const target = random.chance(0.08) ? 'no-such-experience' : random.pick(targets);
  const item = { rule_type: 'bucketed_into_experience_key', value: target,
    matching: { match_type: 'equals', negated: random.chance(0.6) } };
  return { OR: [{ AND: [{ OR_WHEN: [item] }] }] };
}

function rules(random) {
  const few = () => random.weighted([[6, 1], [3, 2]]);
  return { OR: random.list(few(), () => ({ AND: random.list(few(), () => ({ OR_WHEN: random.list(few(), () => item(random)) })) })) };
}

function item(random) {
  const key = random.chance(0.04) ? 'unknown_key' : random.pick(Object.keys(POOLS));
  const aimed = random.pick(POOLS[key] ?? ['x']);
  const number = typeof aimed === 'number';
  const matchType = random.pick(number ? NUMBER_MATCHES : TEXT_MATCHES);
  return {
    rule_type: number ? 'generic_numeric_key_value' : 'generic_text_key_value', key,
    matching: { match_type: matchType, negated: random.chance(0.25) },
    value: number ? random.pick([aimed, aimed, 18, 0, 100]) : operand(random, matchType, aimed),
  };
}

function operand(random, matchType, aimed) {
  const cased = random.pick([aimed, aimed.toLowerCase(), aimed.toUpperCase()]);
  switch (matchType) {
    case 'contains': return cased.slice(random.between(0, 2), random.between(2, 5));
    case 'startsWith': return cased.slice(0, random.between(0, 3));
    case 'endsWith': return cased.slice(-random.between(1, 3));
    case 'isIn': return random.pick([`${cased}|x`, ['x', cased.toLowerCase()], 'us|pro|free']);
    case 'regexMatches': return random.pick(['^[a-z]+$', '^u', 'o', '(us|pro)', '^[^@]+@', 'x$']);
    default: return cased;
  }
}

function feature(random, index) {
  const types = random.some(Object.keys(VARIABLES), random.between(1, 5));
  return { id: String(90000 + index), key: `feature-${index}`, name: `Feature ${index}`,
    variables: types.map((type) => ({ key: `${type}_var`, type })) };
}

function experience(random, key, index, audiences, features) {
  const made = { id: String(900000000 + random.between(0, 999) * 100 + index), key, name: key,
    settings: { matching_options: { audiences: random.pick(['any', 'all']) } } };
  if (random.chance(0.65)) made.audiences = random.some(audiences, random.between(1, 2)).map((one) => one.id);
  if (random.chance(0.9)) made.version = random.pick(VERSIONS);
  const anchored = Number(String(made.version ?? 0).replaceAll('\u0001', '')) > 11;
  made.variations = variations(random, index, key, features);
  if (anchored) made.variations = random.shuffled(made.variations);
  return made;
}

// Ids ascend, so that the packed order is the config's on both sides.
function variations(random, index, key, features) {
  const weights = random.chance(0.25)
    ? random.list(random.between(1, 12), () => random.fraction() * 40)
    : random.pick(WEIGHTS);
  return weights.map((weight, at) => {
    const one = { id: String(1000000000 + index * 1000 + at * 7), key: `${key}-var-${at}`, name: `Variation ${at}`,
      changes: changes(random, features) };
    if (random.chance(0.92)) one.traffic_allocation = weight;
    if (random.chance(0.8)) one.status = random.weighted([[7, 'running'], [2, 'stopped'], [1, 'paused']]);
    return one;
  });
}

function changes(random, features) {
  return random.some(features, random.between(0, 2)).map((declared, at) => {
    const values = {};
    for (const { key, type } of declared.variables) {
      if (random.chance(0.85)) values[key] = random.pick(VARIABLES[type]);
    }
    const id = random.chance(0.7) ? Number(declared.id) : declared.id;
    return { id: at, type: 'fullStackFeature', data: { feature_id: id, variables_data: values } };
  });
}

export function makePythonRequest(random, config) {
  const keys = config.experiences.map((one) => one.key);
  if (random.chance(0.1)) keys.push('no-such-experience');
  const request = { visitor_id: visitorId(random), experience_keys: keys,
    feature_keys: random.chance(0.4) ? config.features.map((one) => one.key) : [] };
  if (random.chance(0.03)) request.feature_keys.push('no-such-feature');
  if (random.chance(0.9)) request.attributes = plainAttributes(random, 0.75);
  if (random.chance(0.3)) request.call_attributes = plainAttributes(random, 0.3);
  if (random.chance(0.45)) request.state = { bucketing: storedDecisions(random, config) };
  if (random.chance(0.3)) request.preview = preview(random, config);
  if (random.chance(0.1)) request.type_casting = false;
  if (random.chance(0.1)) request.feature_experience_keys = random.some(keys, random.between(0, 2));
  return request;
}

function plainAttributes(random, share) {
  const keys = random.shuffled(Object.keys(POOLS)).filter(() => random.chance(share));
  return Object.fromEntries(keys.map((key) => [key, random.pick(POOLS[key])]));
}

export function preview(random, config) {
  const { id, variations: among } = random.pick(config.experiences);
  const variation = among?.length ? random.pick(among).id : '1';
  return random.weighted([
    [8, { experience_id: id, variation_id: variation }],
    [1, { experience_id: id, variation_id: '404' }],
    [1, { experience_id: '404', variation_id: variation }],
    [1, { experience_id: '', variation_id: variation }],
  ]);
}
