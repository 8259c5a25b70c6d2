// The shop in a headless Chromium, judged by the emulator's record.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { Emulator } from "../../crates/emulator/tests/page/emulator.mjs";
import { Chromium } from "../../scripts/chromium.mjs";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };
/** What the module may weigh, in bytes. */
const HEAVIEST = 1_400_000;

let browser;
let server;
let emulator;
let tab;

before(async () => {
  browser = new Chromium();
  server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const file = new URL(`web${pathname === "/" ? "/index.html" : pathname}`, import.meta.url);
    response.setHeader("content-type", TYPES[extname(file.pathname)]);
    response.end(readFileSync(file));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
});
after(async () => {
  await browser.close();
  server.closeAllConnections();
  server.close();
});
beforeEach(async () => {
  emulator = await Emulator.start();
  tab = await open(emulator.key);
});
afterEach(async () => {
  await browser.send("Target.closeTarget", { targetId: tab.target });
  await emulator.stop();
});

/** Another port is another origin, so that every request has to be allowed to it. */
const open = (key, look) => browser.open(`http://127.0.0.1:${server.address().port}/?${new URLSearchParams(
  { key, config: emulator.origin, track: emulator.origin })}`, look);
const ready = (tab) => tab.until(() => document.getElementById("state")?.textContent === "Ready" && document.querySelector("#variations dd"));
const events = async () => Object.values((await emulator.admin("received")).visitors).flat();

/** The record once it satisfies the condition; looks again when it has changed, a few times. */
async function recorded(condition) {
  let record;
  for (let seen = "", looks = 0; looks < 5; looks++) {
    const { version } = await emulator.admin(`live${seen}`);
    record = await emulator.admin("received");
    if (condition(record)) return record;
    seen = `?seen=${version}`;
  }
  throw new Error(`the record stays at ${JSON.stringify(record.totals)}`);
}

test("the browser decides as the engine does elsewhere", async () => {
  await ready(tab);
  const visitors = Array.from({ length: 60 }, (_, place) => ({
    visitor: `v-${place}`, attributes: place % 3 ? { country: "FR", age: 12.5 + place, blocked: false, member_since: 2019 } : { name: "Zoë ✓" },
  }));
  const here = await tab.run((visitors) =>
    visitors.map(({ visitor, attributes }) => window.convert.decide(visitor, attributes).variations), visitors);
  for (const [place, { visitor, attributes }] of visitors.entries()) {
    const { experiences } = await emulator.admin("decide", "POST", { sdk_key: emulator.key, visitor, attributes });
    const decided = experiences.filter(({ variation_key }) => variation_key !== null);
    assert.deepEqual(here[place], Object.fromEntries(decided.map(({ experience_key, variation_key }) => [experience_key, variation_key])));
  }
});

test("exposures and a purchase reach the endpoint", async () => {
  await ready(tab);
  await tab.run(() => document.getElementById("buy").click());
  assert.match(await tab.run(() => document.getElementById("state").textContent), /^Purchase: /);
  await tab.run(() => window.convert.flush());
  const shown = await tab.run(() => document.getElementById("headline").className);
  assert.ok(["original", "short", "playful"].includes(shown), shown);
  // As every SDK of Convert does, the goal alone first, then its data.
  const [goal, purchase] = (await events()).filter(({ event_type }) => event_type === "conversion");
  assert.deepEqual([goal.goal_data, purchase.goal_data], [null, [["amount", 10.3]]]);
  const { totals } = await emulator.admin("received");
  assert.equal(totals.bucketing, Object.keys(purchase.bucketing_data).length, "each exposure once");
  assert.deepEqual([totals.flawed, totals.dropped_as_bot, totals.config_requests], [0, 0, 1]);
  assert.deepEqual(tab.errors, []);
});

test("a delivery that fails is repeated, and nothing is lost", async () => {
  await ready(tab);
  await tab.run(() => window.convert.flush());
  await emulator.admin("faults", "POST", [{ route: "track", times: 2, fault: { status: { status: 503 } } }]);
  await tab.run(() => window.convert.convert("again", "purchase", { revenue: 1 }));
  const { recorded, delivered, pending, retries } = await tab.run(async () => {
    await window.convert.flush(15_000);
    return window.convert.stats();
  });
  assert.deepEqual([recorded, pending, retries], [delivered, 0, 2]);
});

test("flushes that overlap both end", async () => {
  await ready(tab);
  const ended = await tab.run(async () => {
    let first = false;
    window.convert.flush().then(() => { first = true; });
    await window.convert.flush();
    return first;
  });
  assert.ok(ended);
});

test("a request too long to outlive its page is sent all the same", async () => {
  await ready(tab);
  const posted = await tab.run(async () => {
    const posted = [];
    const send = window.fetch;
    window.fetch = (url, { body, keepalive, ...rest }) => {
      if (body) posted.push({ bytes: new Blob([body]).size, keepalive });
      return send(url, { body, keepalive, ...rest });
    };
    for (let visitor = 0; visitor < 100; visitor++) window.convert.convert("顧".repeat(1_100) + visitor, "purchase");
    await window.convert.flush();
    return posted;
  });
  assert.ok(posted.some(({ bytes }) => bytes > 64 * 1024), JSON.stringify(posted));
  assert.deepEqual(posted.filter(({ bytes, keepalive }) => keepalive && bytes >= 60_000), []);
});

test("a page that is left delivers what it has", async () => {
  await ready(tab);
  // What is recorded behind a request in flight waits for its answer, which a page that is gone never gets.
  await tab.run(() => window.convert.flush());
  await tab.run(() => document.getElementById("buy").click());
  await tab.send("Page.navigate", { url: "about:blank" });
  const { totals } = await recorded(({ totals }) => totals.conversion > 0);
  assert.equal(totals.flawed, 0);
});

test("a project that is not there is an error on the page", async () => {
  const elsewhere = await open("no/project");
  await elsewhere.until(() => document.getElementById("state")?.textContent.startsWith("Not started: "));
  assert.ok(await elsewhere.run(() => [...document.querySelectorAll("button")].every(({ disabled }) => disabled)));
  await browser.send("Target.closeTarget", { targetId: elsewhere.target });
});

test("the module is as small as is said", () => {
  const { length } = readFileSync(new URL("web/convert.wasm", import.meta.url));
  assert.ok(length < HEAVIEST, `${length} bytes`);
});

test("the shop fits two widths", async () => {
  await ready(tab);
  await tab.run(() => document.getElementById("buy").click());
  await tab.run(() => window.convert.flush());
  await tab.until(() => document.getElementById("ledger").innerText.match(/delivered\s+[1-9]/));
  for (const [width, dark] of [[960, false], [390, true]]) {
    await tab.look({ width, height: 620, dark });
    assert.ok(await tab.run(() => document.documentElement.scrollWidth <= window.innerWidth));
    if (process.argv.includes("--pictures")) {
      const { status, stdout } = spawnSync("pngquant", ["--nofs", "64", "-"], { input: await tab.picture(), maxBuffer: 2 ** 24 });
      assert.equal(status, 0, "pictures need pngquant: apt-get install pngquant");
      writeFileSync(new URL(`pictures/${dark ? "narrow-dark" : "wide-light"}.png`, import.meta.url), stdout);
    }
  }
});
