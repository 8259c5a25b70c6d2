// The SDK for a page: questions and answers in JSON, turns when they are due, and fetch as the carrier.

/** Milliseconds of work in one turn, and the longest time between two. */
const BUDGET = 2;
const LONGEST = 1000;
/** The longest config that is read, in bytes. */
const CONFIG = 32 * 1024 * 1024;
/** The most that a browser sends for a page that is gone, in bytes; it refuses more. */
const KEPT_ALIVE = 60_000;

export class Convert {
  #wasm;
  #timer;
  #ready;
  #flushes = new Map();

  static async load(url) {
    const convert = new Convert();
    const entropy = () => crypto.getRandomValues(new BigUint64Array(1))[0];
    const host = { now: () => performance.now(), time_of_day: () => Date.now(), entropy };
    const { instance } = await WebAssembly.instantiateStreaming(fetch(url), { host });
    convert.#wasm = instance.exports;
    return convert;
  }

  /** Starts, and ends when the first config is there. */
  async start({ sdkKey, environment = null, configUrl, trackUrl }) {
    const ready = new Promise((done, failed) => { this.#ready = { done, failed }; });
    this.#ask({ ask: "start", sdk_key: sdkKey, environment, config_url: configUrl, track_url: trackUrl });
    this.turn();
    await ready;
  }

  /** The visitor's variation of each experience, and the variables of each feature. */
  decide(visitor, attributes = {}) {
    const answer = this.#ask({ ask: "decide", visitor, attributes });
    this.#soon(0);
    return answer;
  }

  /** Records that the visitor reached a goal; what became of that at once. */
  convert(visitor, goal, { attributes = {}, revenue = null } = {}) {
    const { status } = this.#ask({ ask: "convert", visitor, attributes, goal, revenue });
    this.#soon(0);
    return status;
  }

  /** Sends everything recorded so far, and ends when all of it was taken, or the time is over. */
  flush(within = 5000) {
    const { flush } = this.#ask({ ask: "flush", within });
    const flushed = new Promise((done, failed) => this.#flushes.set(flush, { done, failed }));
    this.turn();
    return flushed;
  }

  /** The ledger. */
  stats() {
    return this.#ask({ ask: "stats" });
  }

  /** Works for a while, sends what has to be sent, and comes back when there is more to do. */
  turn() {
    const { work_left, next_due, requests, ready, flushed } = this.#ask({ ask: "turn", budget: BUDGET });
    requests.forEach((request) => this.#carry(request));
    if (ready) settle(this.#ready, ready);
    for (const { flush, error } of flushed) {
      settle(this.#flushes.get(flush), { error });
      this.#flushes.delete(flush);
    }
    this.#soon(work_left ? 0 : Math.min(next_due ?? LONGEST, LONGEST));
  }

  #soon(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.turn(), ms);
  }

  async #carry({ id, method, url, headers, body, timeout }) {
    let answer = { ask: "lost", id };
    try {
      const response = await fetch(url, {
        method,
        // A page cannot choose its user agent.
        headers: headers.filter(([name]) => name !== "user-agent"),
        body: method === "POST" ? body : undefined,
        credentials: "omit",
        redirect: "error",
        cache: "no-store",
        keepalive: method === "POST" && new TextEncoder().encode(body).length < KEPT_ALIVE,
        signal: AbortSignal.timeout(timeout),
      });
      const wanted = ["etag", "retry-after", "date"].filter((name) => response.headers.has(name));
      answer = {
        ask: "response", id, status: response.status,
        headers: wanted.map((name) => [name, response.headers.get(name)]),
        body: method === "GET" ? await textOf(response) : "",
      };
    } catch {
      // Whether the server has it is not told.
    }
    this.#ask(answer);
    this.turn();
  }

  #ask(question) {
    for (const byte of new TextEncoder().encode(JSON.stringify(question))) this.#wasm.push(byte);
    const answer = new Uint8Array(this.#wasm.ask());
    for (let at = 0; at < answer.length; at++) answer[at] = this.#wasm.pull(at);
    const told = JSON.parse(new TextDecoder().decode(answer));
    if (told.error) throw new Error(told.error);
    return told;
  }
}

function settle({ done, failed }, { error }) {
  if (error === null) done();
  else failed(new Error(error));
}

/** The text of a response, which is given up where it is too long. */
async function textOf(response) {
  const parts = [];
  let length = 0;
  for (let reader = response.body?.getReader(); reader; ) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > CONFIG) {
      await reader.cancel();
      throw new Error("the config is too long");
    }
    parts.push(value);
  }
  return new Blob(parts).text();
}
