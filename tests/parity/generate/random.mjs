// Random choices determined by a text seed, and JSON text that preserves the notation of numbers.

const NUMBER_MARK = '\u0001';

export class Random {
  constructor(seed) {
    this.state = hashText(String(seed));
  }

  // A Weyl sequence and a finalizer: a 32-bit state is plenty for test data.
  bits() {
    this.state = (this.state + 0x9e3779b9) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  fraction() {
    return this.bits() / 2 ** 32;
  }

  // From `low` to `high`, inclusive.
  between(low, high) {
    return low + Math.floor(this.fraction() * (high - low + 1));
  }

  chance(probability) {
    return this.fraction() < probability;
  }

  pick(list) {
    return list[this.between(0, list.length - 1)];
  }

  some(list, count) {
    return this.shuffled(list).slice(0, count);
  }

  shuffled(list) {
    const shuffled = [...list];
    for (let last = shuffled.length - 1; last > 0; last -= 1) {
      const other = this.between(0, last);
      [shuffled[last], shuffled[other]] = [shuffled[other], shuffled[last]];
    }
    return shuffled;
  }

  // [[weight, value or function], ...]
  weighted(choices) {
    let left = this.fraction() * choices.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of choices) {
      left -= weight;
      if (left < 0) return typeof value === 'function' ? value() : value;
    }
    const [, last] = choices.at(-1);
    return typeof last === 'function' ? last() : last;
  }

  list(count, make) {
    return Array.from({ length: count }, (_, index) => make(index));
  }
}

// FNV-1a over UTF-16 units.
function hashText(text) {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  }
  return hash;
}

// A number whose notation must be kept in the JSON: `30.0`, `1e+21`, `9007199254740993`.
export function written(text) {
  return `${NUMBER_MARK}${text}${NUMBER_MARK}`;
}

const MARKED = /"\\u0001([^"\\]*)\\u0001"/g;

export function toLine(value) {
  return `${JSON.stringify(value).replace(MARKED, '$1')}\n`;
}
