// Generates vectors/regex.jsonl.gz: random patterns and texts, answered by this Node's RegExp.
//   node tests/parity/generate/regex.cjs 1 2500 | gzip -9n > tests/parity/vectors/regex.jsonl.gz
'use strict';

let seed = Number(process.argv[2]);
function random() {
  seed = (seed * 1664525 + 1013904223) >>> 0;
  return seed / 4294967296;
}
const pick = (list) => list[Math.floor(random() * list.length)];

// Letters with unusual case folding, lone surrogates, white space, and syntax as literal text.
const UNITS = Array.from(
  'abAB1_ \néÉßẞſsSKk\u212aΣσςİıiI😀µμ\u212bÅåǄǅǆ-,\u2028{}]',
);
const ATOMS = (
  'a b ab . \\d \\D \\w \\W \\s \\S [ab] [^ab] [a-z] [^A-Z] [\\w-] [a-\\d] [^] [] [À-ÿ] [\\u0100-\\uffff] ' +
  '[^\\W] [\\D] [Ā-ſ] \\b \\B ^ $ \\1 \\2 \\3 \\k<n> \\k \\0 \\07 \\8 \\141 \\x61 \\x6 \\u0061 \\u{61} \\u006 \\cA \\c ' +
  '\\c1 [\\c1] [\\c] [\\b] \\- \\_ \\e \\p{L} { } ] {1 {,2} a{2} \\/ [--a] [a-] [-a] [\\1] [b-a] [\\8] [\\07-a] \\t ' +
  '[a\\-c] []a] [^]a] [[] (?i) (?< (?P<n>a) \\B\\b [\\k] \\ud83d [\\ud83d\\ude00] [😀] [^😀]'
).split(' ');
const QUANTIFIERS = ['', '', '', '', '*', '+', '?', '*?', '+?', '??', '{2}', '{1,2}', '{0,2}?', '{1,}', '{0}', '{2,1}'];
const GROUPS = ['(', '(', '(?:', '(?=', '(?!', '(?<=', '(?<!', '(?<n>', '(?<m>'];

function term(depth) {
  const kind = random();
  if (depth > 0 && kind < 0.35) return `${pick(GROUPS)}${alternatives(depth - 1)})${pick(QUANTIFIERS)}`;
  if (kind < 0.6) return pick(UNITS).replace(/[\\^$.*+?()[\]{}|]/g, '\\$&') + pick(QUANTIFIERS);
  return pick(ATOMS) + pick(QUANTIFIERS);
}

function repeat(most, make) {
  let text = '';
  for (let count = Math.floor(random() * most); count > 0; count--) text += make();
  return text;
}

function alternatives(depth) {
  let text = repeat(4, () => term(depth));
  while (random() < 0.25) text += `|${repeat(4, () => term(depth))}`;
  return text;
}

for (let line = 0; line < Number(process.argv[3]); line++) {
  const pattern = alternatives(3);
  let regex = null;
  try {
    regex = new RegExp(pattern, 'i');
  } catch {
    // A rejected pattern is an answer too.
  }
  const texts = [];
  for (let count = 0; regex && count < 6; count++) {
    const text = repeat(10, () => (random() < 0.5 ? pick(['a', 'b', 'A', ' ', 'é']) : pick(UNITS)));
    texts.push([text, regex.test(text)]);
  }
  console.log(JSON.stringify({ kind: 'regex', pattern, valid: regex !== null, texts }));
}
