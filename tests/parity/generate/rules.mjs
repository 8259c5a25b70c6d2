// Visitors' data, and rules on it: values are drawn so that rules match often enough to
// matter, and only just miss otherwise.

import { written } from './random.mjs';

export const REPORT_KEYS = ['country', 'browser', 'devices', 'source', 'campaign', 'visitorType'];

const TEXT_MATCHES = ['equals', 'matches', 'contains', 'startsWith', 'endsWith', 'isIn', 'regexMatches'];
const NUMBER_MATCHES = ['equals', 'equalsNumber', 'less', 'lessEqual'];
const PRESENCE_MATCHES = ['exists', 'not_exists', 'doesNotExist'];
const EVERY_MATCH = [...TEXT_MATCHES, ...NUMBER_MATCHES, ...PRESENCE_MATCHES];

const TEXTS = ['', ' ', 'pro', 'PRO ', 'a', 'b|c', 'US|de', 'Größe', 'STRASSE', 'straße', 'ΣΊΣΥΦΟΣ', 'İstanbul',
  'naïve', '日本', '👍🏽', 'a.b*c', 'null', 'true', 'undefined', '[object Object]', '\u00a0', '\ufeffx', '\u0085', 'a,b'];
const NUMBER_TEXTS = ['5', '5.0', '-3', '.5', '5.', '+5', ' 5', '1,000', '12,34', '0,500', '-0,500', '000,500',
  '0,500,000', '1e3', '0x10', '1,234,567.89', 'Infinity', 'NaN', '1_000', '٣', '9007199254740993'];
const NUMBERS = [0, 1, -1, 5, 21, 30, 0.1, 3.14, -273.15, 100, 1000, 1e-7, 2 ** 53, 123456.789,
  written('30.0'), written('5.0'), written('-0'), written('1e+21'), written('9007199254740993'),
  written('123456789012345680000'), written('1E2'), written('0.30000000000000004')];
const LISTS = [[], ['a'], ['a', 'b'], ['A', 1, true, null], ['vip', 'beta'], [['a', 'b']], [5, '5'], ['US']];
const OBJECTS = [{}, { tier: 'gold' }, { Tier: 'silver', n: 1 }, { a: { b: 1 } }, { 5: 'five' }];

const VISITOR_POOLS = {
  country: ['US', 'us', 'DE', 'GB', '日本', 'CH', ''],
  browser: ['CH', 'FF', 'SF', 'ch'],
  devices: [['DESK'], ['ALLPH', 'IPH'], [], 'DESK', ['TAB', 'DESK']],
  source: ['google', 'Newsletter', 'campaign', ''],
  campaign: ['summer', 'Sale-2024', 'ÄRGER'],
  visitorType: ['new', 'returning'],
  plan: ['pro', 'PRO', 'free', 'Enterprise', ' pro', 'b|c'],
  age: [17, 18, 21, 30, 65, '21', '30', written('30.0'), 30.5],
  price: [0, 9.99, 100, 1999.5, '1,000', '.5', '0,500'],
  beta: [true, false, 'true', 'false', 1, 0],
  tags: [['a'], ['vip', 'beta'], [], ['a', 'b'], ['vip', 1, true]],
  meta: [{ tier: 'gold', n: 1 }, { Tier: 'silver' }, {}, { a: { b: 1 } }],
  email: ['Ann@Example.com', 'bob@test.io', 'ÄRGER@example.de', 'ΣΊΣΥΦΟΣ@x.gr'],
  note: TEXTS,
  score: [0, 1, 5, -3, 0.1, 1e-7, written('1e+21'), '5', '1e3'],
  'naïve key': ['x', 'X'],
};

const LOCATION_POOLS = {
  url: ['https://shop.example.com/', 'https://example.com/Product/42', 'http://localhost:3000'],
  path: ['/', '/cart', '/Product/42', '/Blog/Über-uns'],
  query: ['', 'a=1&b=2', 'utm_source=ads'],
  page_type: ['home', 'product', 'Checkout', null],
  depth: [0, 1, 2, 5, written('2.0'), '2'],
  logged_in: [true, false],
};

const GOAL_POOLS = {
  action: ['buy', 'signup', 'Buy'],
  total: [5, 10.5, '1,000'],
};

export const SCOPES = { visitor: VISITOR_POOLS, location: LOCATION_POOLS, goal: GOAL_POOLS };

export function oddValue(random) {
  return random.weighted([
    [4, () => random.pick(TEXTS)],
    [3, () => random.pick(NUMBER_TEXTS)],
    [3, () => random.pick(NUMBERS)],
    [1, () => random.pick(LISTS)],
    [1, () => random.pick(OBJECTS)],
    [1, () => random.chance(0.5)],
    [1, null],
  ]);
}

// A map of attributes: each known key with some probability, in random order.
export function attributes(random, scope, odd, share = 0.6) {
  const pools = SCOPES[scope];
  const chosen = random.shuffled(Object.keys(pools)).filter(() => random.chance(share));
  return Object.fromEntries(chosen.map((key) => {
    const free = odd && !REPORT_KEYS.includes(key) && random.chance(0.25);
    return [key, free ? oddValue(random) : random.pick(pools[key])];
  }));
}

export function ruleSet(random, scope, odd) {
  if (odd && random.chance(0.04)) return random.pick([{}, [], { OR: [] }, { AND: [{ OR_WHEN: [] }] }, { OR: [{ AND: [] }] }]);
  const branches = random.list(size(random), () => ({
    AND: random.list(size(random), () => ({ OR_WHEN: random.list(size(random), () => item(random, scope, odd)) })),
  }));
  return odd ? misshapen(random, { OR: branches }) : { OR: branches };
}

function size(random) {
  return random.weighted([[6, 1], [3, 2], [1, 3]]);
}

function misshapen(random, rules) {
  if (random.chance(0.94)) return rules;
  const branch = random.pick(rules.OR);
  return random.weighted([
    [2, () => { branch.AND.push({ OR_WHEN: [] }); return rules; }],
    [2, () => { branch.AND.push({}); return rules; }],
    [2, () => { rules.OR.unshift({}); return rules; }],
    [1, () => { rules.OR = { 0: branch }; return rules; }],
    [1, () => { rules.OR.unshift(null); return rules; }],
  ]);
}

function item(random, scope, odd) {
  const pools = SCOPES[scope];
  const key = random.chance(0.04) ? 'unknown_key' : random.pick(Object.keys(pools));
  const pool = pools[key] ?? TEXTS;
  const aimed = random.pick(pool);
  const matchType = random.chance(odd ? 0.5 : 0.25) ? random.pick(EVERY_MATCH) : fittingMatch(random, aimed);
  const made = {
    rule_type: ruleType(aimed),
    key,
    matching: { match_type: matchType, negated: random.chance(0.25) },
    value: odd && random.chance(0.25) ? oddValue(random) : operand(random, matchType, aimed),
  };
  return odd && random.chance(0.05) ? invalid(random, made) : made;
}

function isNumber(value) {
  return typeof value === 'number' || (typeof value === 'string' && value.startsWith('\u0001'));
}

function ruleType(value) {
  if (isNumber(value)) return 'generic_numeric_key_value';
  return typeof value === 'boolean' ? 'generic_bool_key_value' : 'generic_text_key_value';
}

function fittingMatch(random, value) {
  if (random.chance(0.08)) return random.pick(PRESENCE_MATCHES);
  if (isNumber(value)) return random.pick(NUMBER_MATCHES);
  return typeof value === 'string' ? random.pick(TEXT_MATCHES) : random.pick(['equals', 'contains', 'isIn']);
}

// An operand close to a value that a visitor may have.
function operand(random, matchType, aimed) {
  if (Array.isArray(aimed)) return random.pick([...aimed, 'a', 'DESK', '', '0']);
  if (aimed !== null && typeof aimed === 'object') return random.pick([...Object.keys(aimed), 'tier', 'x', '0']);
  if (isNumber(aimed)) return random.weighted([[3, aimed], [2, () => String(aimed).replaceAll('\u0001', '')], [2, () => random.pick([0, 18, 21, 30, 100])]]);
  if (typeof aimed !== 'string') return random.chance(0.5) ? aimed : String(aimed);
  switch (matchType) {
    case 'contains': return part(random, aimed);
    case 'startsWith': return recased(random, chars(aimed).slice(0, random.between(0, 4)).join(''));
    case 'endsWith': return recased(random, chars(aimed).slice(-random.between(1, 4)).join(''));
    case 'isIn': return tokens(random, aimed);
    case 'regexMatches': return pattern(random, aimed);
    default: return recased(random, aimed);
  }
}

// By code point: JSON text cannot contain a lone surrogate.
function chars(text) {
  return [...text];
}

function part(random, text) {
  const letters = chars(text);
  const start = random.between(0, letters.length);
  return recased(random, letters.slice(start, start + random.between(0, 5)).join(''));
}

function recased(random, text) {
  return random.weighted([[3, text], [1, () => text.toLowerCase()], [1, () => text.toUpperCase()], [1, () => ` ${text}`]]);
}

function tokens(random, text) {
  const others = random.some(['US', 'de', 'pro', 'x', '', 'buy'], random.between(0, 2));
  const all = random.shuffled([random.chance(0.7) ? text.toLowerCase() : text, ...others]);
  return random.chance(0.7) ? all.join('|') : all;
}

function pattern(random, text) {
  const letters = chars(text);
  const escaped = text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  const head = (letters[0] ?? '').replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  return random.pick([`^${head}`, escaped, `${escaped}$`, '^[a-z]+$', '\\d+', '(us|de|pro)', '^\\S+@\\S+$', '.',
    '(?=.*o)p', '^(?!x)', '([a-z])\\1', '(?:a|b)+', '[^', '*', '', '\\bbuy\\b', '\\w{3,}', '(?<n>e)\\k<n>?']);
}

function invalid(random, made) {
  return random.weighted([
    [3, () => { delete made.value; return made; }],
    [2, () => { delete made.matching.negated; return made; }],
    [2, () => { made.matching.negated = random.pick(['true', 1, null]); return made; }],
    [2, () => { made.matching.match_type = random.pick(['Equals', 'unknown', 5, null]); return made; }],
    [2, () => { made.key = random.pick([5, null]); return made; }],
    [2, () => { delete made.key; return made; }],
    [1, () => { delete made.matching; return made; }],
    [1, () => { made.matching = 'equals'; return made; }],
    [1, () => { made.matching = null; return made; }],
    [1, null],
  ]);
}
