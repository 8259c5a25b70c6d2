// Random configs in the served format for the JavaScript oracle. `clean` ones look like real
// ones; `odd` ones have unusual and malformed values.
//
// Both avoid what differs between this SDK and npm's package, on purpose or because of its
// version: `version` above 11, exclusion rules, ids that are not text, a missing environment.

import { ruleSet } from './rules.mjs';
import { written } from './random.mjs';

export const ENVIRONMENTS = ['production', 'staging', 'live'];
const KEY_WORDS = ['hero', 'signup', 'price', 'nav', 'menu', 'promo', 'trial', 'cart'];
const CHANGE_TYPES = ['richStructure', 'defaultCode', 'customCode'];
const VARIABLE_TYPES = ['boolean', 'integer', 'float', 'string', 'json'];
const WEIGHTS = [[50, 50], [33.33, 33.33, 33.34], [10, 10, 10], [0.1, 0.2], [99, 1], [100], [25, 25, 25, 25],
  [8.333333333333334, 8.333333333333334, 8.333333333333334], [1.1, 1.1, 97.8], [60, 60], [150, 20],
  [92.92880389839411, 7.07119610160589], [0, 100], [50, 0, 50], [0.01, 99.99], [12.5, 12.5]];
const ODD_WEIGHTS = ['', '50', '5e1', '1_0', 'abc', '0x10', ' 20 ', null, true, false, [], [50], [1, 2], {}, -5,
  written('1e2'), written('0.0'), 'Infinity', 1e-9, 101];
const ODD_VERSIONS = ['11', 'abc', '12abc', '1_2', true, [11], ' 10 ', {}, '', -1, written('11.0')];
const ODD_STATUSES = ['', null, 'Running', 'paused', 'RUNNING', 'completed'];

const VARIABLES = {
  boolean: { fitting: [true, false, 'true', 'false'], odd: ['yes', '', 0, 1, null, [], 'FALSE', {}] },
  integer: { fitting: [0, 12, -7, '12', '-7', '007'],
    odd: ['12abc', '3.99', 3.99, -3.99, '1,000', '1e3', 1e21, 1e-7, '0x1f', '', 'abc', null, [5], true, ' 8', {}] },
  float: { fitting: [1.5, 3, '2.75', '0.1', written('4.0')],
    odd: ['1.5abc', '1,234.5', '5.', '.5', '-.5e-3', 'infinity', 'Infinity', '-Infinity', null, true, '', 'x', [1.5, 2], '1e400'] },
  string: { fitting: ['', 'Buy now', 'Größe ✓', '42'],
    odd: [null, 1, written('1.0'), 1e21, 1e-7, true, {}, [1, 'a', null], 123456.789, written('-0'), written('9007199254740993')] },
  json: { fitting: [{ a: 1 }, [1, 2], '{"a":[1,2,{"b":null}]}', '"quoted"', '12', 'null', 'not json'],
    odd: [12, true, null, 'NaN', '{bad', '', ' {"x": 1} ', '[1,]', '{"d":1,"d":2}', 'true', '1e3', '01', '"\\u00e9"'] },
};

export function makeConfig(random, odd) {
  const ids = new Ids(random);
  const audiences = random.list(random.between(2, 6), (index) => audience(random, ids, odd, index));
  const segments = random.list(random.between(1, 4), (index) => segment(random, ids, odd, index));
  const locations = random.list(random.between(1, 3), (index) => location(random, ids, odd, index));
  const features = random.list(random.between(1, 4), (index) => feature(random, ids, index));
  const goals = random.list(random.between(1, 4), (index) => goal(random, ids, odd, index));
  const parts = { audiences, segments, locations, features, goals };
  const experiences = random.list(random.between(2, 7), (index) => experience(random, ids, odd, index, parts));
  if (odd && random.chance(0.1)) experiences.at(-1).key = experiences[0].key;
  const config = {
    account_id: ids.next(8), project: { id: ids.next(8), name: 'Project', type: 'fullstack', settings: {} },
    experiences, ...parts,
  };
  if (random.chance(0.5)) config.archived_experiences = archived(random, experiences);
  return config;
}

class Ids {
  constructor(random) {
    this.random = random;
    this.taken = new Set();
  }

  next(digits) {
    const id = String(this.random.between(10 ** (digits - 1), 10 ** digits - 1));
    if (this.taken.has(id)) return this.next(digits);
    this.taken.add(id);
    return id;
  }

  // Below and above JavaScript's largest array index, which determines the packed order.
  variation() {
    const id = this.random.weighted([[6, () => this.next(10)], [2, () => this.next(11)], [2, () => this.next(6)],
      [1, () => `v${this.next(3)}x`], [1, () => `0${this.next(4)}`],
      [1, () => this.random.pick(['4294967294', '4294967295', '4294967296', '0', '1.5', '-1'])]]);
    if (this.taken.has(`variation ${id}`)) return this.variation();
    this.taken.add(`variation ${id}`);
    return id;
  }
}

function audience(random, ids, odd, index) {
  const made = { id: ids.next(7), key: `audience-${index}`, name: `Audience ${index}`, rules: ruleSet(random, 'visitor', odd) };
  if (random.chance(0.9)) made.type = random.chance(0.3) ? 'permanent' : 'transient';
  if (odd && random.chance(0.08)) made.rules = random.pick([null, '', 'text', 0]);
  return made;
}

function segment(random, ids, odd, index) {
  const made = { id: ids.next(7), key: `segment-${index}`, name: `Segment ${index}`, rules: ruleSet(random, 'visitor', odd) };
  if (odd && random.chance(0.02)) made.rules = null;
  return made;
}

function location(random, ids, odd, index) {
  const made = { id: ids.next(7), key: `location-${index}`, name: `Location ${index}`,
    trigger: { type: 'upon_run' }, rules: ruleSet(random, 'location', odd) };
  if (odd && random.chance(0.08)) made.rules = random.pick([null, '']);
  return made;
}

function feature(random, ids, index) {
  const types = random.some(VARIABLE_TYPES, random.between(1, 5));
  const made = { id: ids.next(5), key: `feature-${index}`, name: `Feature ${index}` };
  if (random.chance(0.97)) made.variables = types.map((type) => ({ key: `${type}_var`, type }));
  return made;
}

function goal(random, ids, odd, index) {
  const made = { id: ids.next(7), key: `goal-${index}`, name: `Goal ${index}`, type: 'code_trigger' };
  if (random.chance(0.6)) made.rules = random.chance(0.1) ? null : ruleSet(random, 'goal', odd);
  return made;
}

function experience(random, ids, odd, index, parts) {
  const id = ids.next(9);
  const key = `${random.pick(KEY_WORDS)}-${index}`;
  const made = { id, key, name: `Experience ${index}`, type: 'a/b_fullstack', status: random.pick(['active', 'draft', 'paused']),
    settings: { matching_options: { audiences: random.pick(['any', 'any', 'all']) } } };
  place(random, made, odd, parts);
  if (random.chance(0.45)) made.audiences = audienceIds(random, parts);
  if (random.chance(0.25)) made.environment = random.pick(['production', 'staging', 'live', '', null]);
  if (random.chance(0.9)) made.version = random.pick([11, 11, 11, 10, 1, null]);
  made.variations = variations(random, ids, odd, key, parts.features);
  return odd ? unusual(random, made) : made;
}

function place(random, made, odd, { locations }) {
  if (random.chance(0.22)) {
    made.locations = random.some(locations, random.between(1, 2)).map((one) => one.id);
    if (random.chance(0.1)) made.locations.push('404404');
    if (random.chance(0.08)) made.locations = random.pick([['404404'], [], null]);
  }
  if (random.chance(0.18)) made.site_area = ruleSet(random, 'location', odd);
  if (random.chance(0.05)) made.site_area = random.pick(odd ? [null, {}, [], ''] : [null]);
}

function audienceIds(random, { audiences, segments }) {
  const ids = random.some(audiences, random.between(1, 3)).map((one) => one.id);
  if (random.chance(0.2)) ids.push(random.pick(segments).id);
  if (random.chance(0.08)) ids.unshift('404404');
  return random.weighted([[30, ids], [1, null], [1, []], [1, ['404404']], [1, () => [random.pick(segments).id]]]);
}

function variations(random, ids, odd, key, features) {
  const weights = random.chance(0.15)
    ? random.list(random.between(1, 12), () => random.fraction() * 40)
    : random.pick(WEIGHTS);
  const made = weights.map((weight, index) => {
    const one = { id: ids.variation(), name: `Variation ${index}`, key: `${key}-var-${index}`, is_baseline: index === 0 };
    if (random.chance(0.92)) one.traffic_allocation = odd && random.chance(0.12) ? random.pick(ODD_WEIGHTS) : weight;
    if (random.chance(0.8)) one.status = random.chance(0.12) ? 'stopped' : 'running';
    if (odd && random.chance(0.08)) one.status = random.pick(ODD_STATUSES);
    one.changes = changes(random, odd, features);
    return one;
  });
  return made;
}

function changes(random, odd, features) {
  if (random.chance(0.05)) return random.pick([null, []]);
  return random.list(random.between(0, 2), (index) => {
    if (random.chance(0.15)) return { id: 1000 + index, type: random.pick(CHANGE_TYPES), data: { js: '1' } };
    const type = odd && random.chance(0.05) ? random.pick(['fullstackfeature', 'FullStackFeature', null]) : 'fullStackFeature';
    const change = { id: 1000 + index, type, data: carried(random, odd, random.pick(features)) };
    return odd && random.chance(0.02) ? { id: 1, type } : change;
  });
}

function carried(random, odd, declared) {
  const id = random.chance(0.7) ? Number(declared.id) : declared.id;
  const values = {};
  for (const { key, type } of declared.variables ?? []) {
    if (random.chance(0.85)) values[key] = random.pick(VARIABLES[type][odd && random.chance(0.4) ? 'odd' : 'fitting']);
  }
  if (random.chance(0.1)) values.undeclared_var = random.pick([7, '7', true]);
  const data = { feature_id: id, variables_data: values };
  if (!odd) return data;
  if (random.chance(0.04)) data.feature_id = random.pick([404, '', 0, null]);
  if (random.chance(0.04)) data.variables_data = random.pick([null, {}]);
  return data;
}

function unusual(random, made) {
  if (random.chance(0.1)) made.version = random.pick(ODD_VERSIONS);
  if (random.chance(0.05)) made.settings.matching_options = random.pick([{}, { audiences: 'ALL' }, { audiences: null }]);
  if (random.chance(0.02)) delete made.settings;
  if (random.chance(0.03)) made.variations = random.pick([[], null]);
  if (random.chance(0.03) && made.variations?.length > 1) made.variations.at(-1).id = made.variations[0].id;
  return made;
}

function archived(random, experiences) {
  const ids = experiences.filter(() => random.chance(0.12)).map((one) => one.id);
  return ids.map((id) => (random.chance(0.5) ? id : Number(id)));
}
