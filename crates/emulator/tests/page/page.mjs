// The emulator's page, used as a person would use it, in a headless Chromium.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { Chromium } from "../../../../scripts/chromium.mjs";
import { Emulator } from "./emulator.mjs";

const MARKUP = `"><img src=x onerror="window.hurt=1"><script>window.hurt=1</script>`;

let browser;
let emulator;
let tab;

before(() => { browser = new Chromium(); });
after(() => browser.close());
beforeEach(async () => {
  emulator = await Emulator.start();
  tab = await open();
});
afterEach(async () => {
  // Also after a test that failed, so that the next one starts clean.
  await emulator.stop();
  await browser.send("Target.closeTarget", { targetId: tab.target });
});

async function open(look) {
  const tab = await browser.open(emulator.page, look);
  await tab.until(() => document.querySelector("#project-list h4") && document.querySelector("#fault-kinds li"));
  return tab;
}

const shows = (id, text) => tab.until((id, text) => document.getElementById(id).innerText.includes(text), id, text);
const press = (id) => tab.run((id) => document.getElementById(id).click(), id);
const enter = (id, text) => tab.run((id, text) => {
  const field = document.getElementById(id);
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}, id, text);

/** The page made no request to anybody else, and nothing in it failed or was blocked. */
function assertClean(expected = []) {
  assert.deepEqual(tab.requests.filter((url) => !url.startsWith(emulator.page)), []);
  assert.deepEqual(tab.errors.filter((error) => !expected.some((known) => error.includes(known))), []);
}

test("splits are shown as configured and as seen", async () => {
  const bucketing = (variationId) => [{ eventType: "bucketing", data: { experienceId: "100320101", variationId } }];
  await emulator.track([1, 2, 3].map((n) => ({ visitorId: `a-${n}`, events: bucketing("100330101") })));
  await emulator.track([{ visitorId: "b", events: bucketing("100330102") }]);
  await tab.until(() => document.querySelector("#project-list").innerText.includes("75\u00a0%\u00a0(3)"));
  const rows = await tab.run(() => [...document.querySelectorAll("#project-list .card")][0].innerText);
  assert.match(rows, /homepage-headline/);
  assert.match(rows, /original\s+33\.34\s%/);
  assert.match(rows, /short\s+33\.33\s%\s+75\s%\s\(3\)/);
  assert.match(rows, /playful\s+33\.33\s%\s+25\s%\s\(1\)/);
  assertClean();
});

test("events appear by visitor, with the keys of the config", async () => {
  await emulator.track([await emulator.visit("ada", { amount: 10.3 })]);
  await shows("event-list", "purchase: amount 10.3, transactionId \"t-ada\"");
  await shows("event-list", "homepage-headline: ");
  await emulator.track([await emulator.visit("bob")]);
  await tab.until(() => document.querySelector("#event-list h3").innerText === "bob");
  await enter("event-filter", "ad");
  await tab.until(() => [...document.querySelectorAll("#event-list h3")].map((title) => title.innerText).join() === "ada");
  assertClean();
});

test("a refused request is shown with its wrong field", async () => {
  const events = [{ eventType: "bucketing", data: { experienceId: "100320101", variationId: "7" } }];
  assert.equal(await emulator.track([{ visitorId: "v", events }]), 400);
  await shows("refused-list", "visitors[0].events[0].data.variationId");
  await shows("refused-list", "status 400");
  await shows("totals", "refused");
  assertClean();
});

test("every fault has a button that injects it", async () => {
  const kinds = await emulator.admin("fault_kinds");
  await tab.run(() => document.querySelectorAll("#fault-kinds button").forEach((button) => button.click()));
  await tab.until((count) => document.querySelectorAll("#pending li").length === count, kinds.length);
  const pending = await emulator.admin("faults");
  const byName = (list) => Object.fromEntries(list.map(({ fault }) => [typeof fault === "string" ? fault : Object.keys(fault)[0], fault]));
  assert.deepEqual(byName(pending), byName(kinds));
  assert.ok(pending.every(({ route, times }) => route === "track" && times === 1));
  await press("clear-faults");
  await shows("pending-title", "None pending");
  assert.deepEqual(await emulator.admin("faults"), []);
  assertClean();
});

test("an impossible fault is refused, and what may be left out is", async () => {
  const submit = (name) => tab.run((name) =>
    [...document.querySelectorAll("#fault-kinds button")].find((button) => button.innerText === name).click(), name);
  await enter("fault-chance", "7");
  await submit("hang");
  await shows("fault-result", "Probability: ");
  await enter("fault-chance", "");
  const status = (value) => tab.run((value) => { document.querySelector("#fault-kinds input[name=status]").value = value; }, value);
  await status("99");
  await submit("status");
  await status("429");
  await tab.run(() => { document.querySelector("#fault-kinds input[name=retry_after]").value = "5"; });
  await submit("status");
  await shows("fault-result", "Injected: status (status 429, retry_after 5) on track, for the next request.");
  assert.deepEqual((await emulator.admin("faults")).map(({ fault }) => fault), [{ status: { status: 429, retry_after: 5 } }]);
  const labels = await tab.run(() => [...document.querySelectorAll("#fault-kinds form")]
    .find((form) => form.innerText.startsWith("status")).innerText);
  assert.match(labels, /status\s[\s\S]*retry_after/);
});

test("a fault is injected by keyboard alone", async () => {
  const focused = () => tab.run(() => document.activeElement.closest("#fault-kinds") && document.activeElement.innerText);
  await tab.run(() => document.getElementById("fault-route").focus());
  for (let presses = 0; (await focused()) !== "hang"; presses++) {
    assert.ok(presses < 40, "the button is not reached");
    await tab.key("Tab");
  }
  await tab.key("Enter", { text: "\r" });
  await shows("pending", "hang on track, for the next request");
  assert.deepEqual(await emulator.admin("faults"), [{ route: "track", times: 1, fault: "hang" }]);
});

test("every control is reached by Tab and has a name", async () => {
  const wanted = await tab.run(() => {
    const controls = [...document.querySelectorAll("a, button, input, select, textarea, summary")];
    controls.forEach((control, place) => { control.dataset.place = place; });
    return controls.filter((control) => control.checkVisibility()).map(({ dataset }) => dataset.place);
  });
  await tab.run(() => document.activeElement.blur());
  const reached = new Set();
  const looks = () => ({
    place: document.activeElement.dataset.place,
    outlined: document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== "none",
  });
  for (let presses = 0; presses < wanted.length + 20; presses++) {
    await tab.key("Tab");
    const { place, outlined } = await tab.run(looks);
    if (place !== undefined) reached.add(place);
    assert.ok(outlined, "what has the focus shows it");
  }
  assert.deepEqual(wanted.filter((place) => !reached.has(place)), []);
  const { nodes } = await tab.send("Accessibility.getFullAXTree");
  const roles = ["button", "link", "textbox", "searchbox", "spinbutton", "combobox", "checkbox", "table", "region"];
  const unnamed = nodes.filter(({ ignored, role, name }) => !ignored && roles.includes(role?.value) && !name?.value);
  assert.deepEqual(unnamed.map(({ role }) => role.value), []);
});

test("a config is checked and served from the editor", async () => {
  await tab.until(() => document.getElementById("config-text").value.includes("homepage-headline"));
  const served = await tab.run(() => document.getElementById("config-text").value);
  await enter("config-text", served.replace('"traffic_allocation": 33.34', '"traffic_allocation": "much"').replace('"key": "homepage-headline"', '"key": "renamed"'));
  await press("config-check");
  await shows("config-result", "Checked, not served.");
  assert.equal((await emulator.admin(`project?key=${emulator.key}`)).revision, 1);
  await tab.run(() => document.getElementById("config-form").requestSubmit());
  await shows("config-result", "Served.");
  await shows("project-list", "renamed");
  await enter("config-text", "{");
  await press("config-check");
  await shows("config-result", "not a JSON object");
  await enter("config-text", `{"experiences": 7}`);
  await tab.run(() => document.getElementById("config-form").requestSubmit());
  await shows("config-warnings", "The SDK refuses this config: the config has no `account_id`.");
  assertClean(["400 (Bad Request)"]);
});

test("an experience that is paused is not served, and its card says so", async () => {
  await tab.until(() => document.getElementById("config-text").value !== "");
  const served = JSON.parse(await tab.run(() => document.getElementById("config-text").value));
  served.experiences[1].status = "paused";
  await enter("config-text", JSON.stringify(served));
  await tab.run(() => document.getElementById("config-form").requestSubmit());
  await shows("project-list", "paused, so not served");
  await tab.run(() => document.getElementById("visitor-form").requestSubmit());
  await shows("visitor-result", "of 5 experiences.");
  assertClean();
});

test("warnings of a config name the place", async () => {
  await tab.until(() => document.getElementById("config-text").value !== "");
  const served = JSON.parse(await tab.run(() => document.getElementById("config-text").value));
  served.audiences[0].rules.OR[0].AND[0].OR_WHEN[0].matching.match_type = "sounds_like";
  await enter("config-text", JSON.stringify(served));
  await press("config-check");
  await shows("config-warnings", "audiences[0]");
  await shows("config-result", "1 warning.");
});

test("edits survive a config that is served meanwhile", async () => {
  await tab.until(() => document.getElementById("config-text").value !== "");
  await enter("config-text", "{ my edits }");
  await fetch(`${emulator.page}project?key=${emulator.key}`, { method: "POST", body: `{"experiences": []}` });
  await shows("config-result", "Another config is served by now.");
  assert.equal(await tab.run(() => document.getElementById("config-text").value), "{ my edits }");
});

test("a visitor entered by hand gets a decision step by step", async () => {
  await enter("visitor-id", "visitor-7");
  await enter("visitor-attributes", `{"plan": "pro"}`);
  await tab.run(() => document.getElementById("visitor-form").requestSubmit());
  await shows("visitor-result", "visitor-7 gets a variation in ");
  await tab.run(() => document.querySelectorAll("#decisions details").forEach((details) => { details.open = true; }));
  const [{ experiences }, shown] = await Promise.all([
    emulator.admin("decide", "POST", { sdk_key: emulator.key, visitor: "visitor-7", attributes: { plan: "pro" } }),
    tab.run(() => [...document.querySelectorAll("#decisions > li")].map((item) => item.innerText)),
  ]);
  assert.equal(shown.length, experiences.length);
  for (const [place, { experience_key, variation_key, steps }] of experiences.entries()) {
    assert.ok(shown[place].startsWith(`${experience_key} ${variation_key ?? "no variation"}`), shown[place]);
    const bucketing = steps.find(({ step }) => step === "bucketing");
    if (bucketing) assert.ok(shown[place].includes(`bucket ${bucketing.bucket};`), shown[place]);
  }
  await enter("visitor-attributes", "{");
  await tab.run(() => document.getElementById("visitor-form").requestSubmit());
  await shows("visitor-result", "Attributes: ");
  assert.equal(await tab.run(() => document.querySelectorAll("#decisions > li").length), 0, "of the previous visitor");
  assertClean();
});

test("markup in events and configs stays text", async () => {
  const config = {
    account_id: "1", project: { id: "2" }, segments: [{ id: "s", key: MARKUP }],
    audiences: [{ id: "a", key: MARKUP, rules: { OR: [{ AND: [{ OR_WHEN: [{ key: MARKUP, matching: { match_type: "equals" }, value: MARKUP, rule_type: "generic_text_key_value" }] }] }] } }],
    experiences: [{ id: "e", key: MARKUP, environment: MARKUP, audiences: ["a"], variations: [{ id: "v", key: MARKUP }] }],
    goals: [{ id: "g", key: MARKUP }],
  };
  const replaced = await fetch(`${emulator.page}project?key=${emulator.key}`, { method: "POST", body: JSON.stringify(config) });
  assert.equal(replaced.status, 200);
  const key = "1/2";
  const events = [
    { eventType: "bucketing", data: { experienceId: "e", variationId: "v" } },
    { eventType: "conversion", data: { goalId: "g", goalData: [{ key: "transactionId", value: MARKUP }] } },
  ];
  assert.equal(await emulator.track([{ visitorId: MARKUP, events }], { key }), 200);
  assert.equal(await emulator.track([{ visitorId: MARKUP, [MARKUP]: 1, events }], { key }), 400);
  for (const id of ["project-list", "event-list", "refused-list"]) await shows(id, MARKUP);
  await enter("visitor-id", MARKUP);
  await tab.run(() => document.getElementById("visitor-form").requestSubmit());
  await shows("decisions", MARKUP);
  const { images, scripts, hurt } = await tab.run(() => ({
    images: document.images.length, scripts: document.scripts.length, hurt: window.hurt,
  }));
  assert.deepEqual({ images, scripts, hurt }, { images: 0, scripts: 1, hurt: undefined });
  assertClean();
});

test("ten thousand visitors leave a bounded page", async () => {
  const events = [{ eventType: "bucketing", data: { experienceId: "100320101", variationId: "100330102" } }];
  for (let batch = 0; batch < 10; batch++) {
    const visitors = Array.from({ length: 1000 }, (_, place) => ({ visitorId: `${batch}-${place}`.padEnd(400, "x"), events }));
    assert.equal(await emulator.track(visitors), 200);
    assert.equal(await emulator.track([{ visitorId: "", events }]), 400);
  }
  await tab.until(() => document.querySelector("#project-list").innerText.includes("(10000)"));
  const { visitors, nodes, answer } = await tab.run(async () => ({
    visitors: document.querySelectorAll("#event-list > li").length,
    nodes: document.querySelectorAll("*").length,
    answer: (await (await fetch("live")).text()).length,
  }));
  assert.ok(visitors <= 40 && nodes < 3000 && answer < 200_000, JSON.stringify({ visitors, nodes, answer }));
});

test("a page of another origin changes and reads nothing", async () => {
  await emulator.track([await emulator.visit("ada")]);
  // Another name for the same address is another origin, and only the admin API has a policy against requests.
  const elsewhere = `${emulator.origin.replace("127.0.0.1", "localhost")}/api/v1/config/${emulator.key}`;
  const other = await browser.open(elsewhere);
  await other.until(() => document.body?.innerText.includes("experiences"));
  const tried = await other.run(async (page) => {
    const tries = [
      fetch(`${page}faults`, { method: "POST", mode: "no-cors", body: `[{"route":"track","fault":"hang"}]` }),
      fetch(`${page}received`, { method: "DELETE", mode: "no-cors" }),
      fetch(`${page}received`), fetch(`${page}live`),
    ];
    return (await Promise.allSettled(tries)).map(({ status, value }) => (status === "rejected" ? "blocked" : value.type));
  }, emulator.page);
  await browser.send("Target.closeTarget", { targetId: other.target });
  assert.deepEqual(tried, ["blocked", "blocked", "blocked", "blocked"]);
  assert.deepEqual(await emulator.admin("faults"), []);
  assert.notEqual((await emulator.admin("received")).totals.events, 0, "the record is not cleared");
});

test("the page leaves no trace in the record", async () => {
  await tab.until(() => document.getElementById("connection").innerText === "Live");
  assert.equal((await emulator.admin("received")).totals.requests, 0);
  assertClean();
});

test("nothing is cut off, and all text has contrast", async () => {
  await story();
  for (const look of [{ width: 1280 }, { width: 375, height: 812 }]) {
    for (const dark of [false, true]) {
      await tab.look({ height: 900, ...look, dark });
      const { wide, pale } = await tab.run(unreadable);
      assert.deepEqual({ wide, pale }, { wide: false, pale: [] }, JSON.stringify({ ...look, dark }));
      if (process.argv.includes("--pictures")) {
        const name = `${look.width < 600 ? "narrow" : "wide"}-${dark ? "dark" : "light"}`;
        draw(name, await tab.picture(look.width < 600 ? 1800 : undefined));
      }
    }
  }
});

/** Keeps a picture in few colors, which is a quarter of its size. */
function draw(name, png) {
  const { status, stdout } = spawnSync("pngquant", ["--nofs", "64", "-"], { input: png, maxBuffer: 2 ** 24 });
  assert.equal(status, 0, "pictures need pngquant: apt-get install pngquant");
  writeFileSync(new URL(`../../pictures/${name}.png`, import.meta.url), stdout);
}

/** A day at the emulator, as the pictures show it. */
async function story() {
  const shopper = (place) => ({
    attributes: { ...(place % 6 ? { country: place % 2 ? "DE" : "FR", age: 18 + place } : {}), member_since: 2020, blocked: false },
    location: { path: place % 3 ? "/checkout" : "/search" },
    environment: place % 4 ? "production" : "staging",
    custom_segments: ["100360101"],
    amount: place % 5 ? undefined : 20 + (place % 7) * 9.5,
  });
  for (let batch = 0; batch < 8; batch++) {
    const visitors = await Promise.all(Array.from({ length: 50 }, (_, place) =>
      emulator.visit(`visitor-${batch * 50 + place + 1}`, shopper(place))));
    assert.equal(await emulator.track(visitors.filter(({ events }) => events.length)), 200);
  }
  const wrong = [{ eventType: "bucketing", data: { experienceId: "100320101", variationId: "7" } }];
  assert.equal(await emulator.track([{ visitorId: "visitor-401", events: wrong }]), 400);
  assert.equal(await emulator.track([{ visitorId: "visitor-402", events: [] }]), 400);
  await emulator.admin("faults", "POST", [
    { route: "track", times: 2, fault: { status: { status: 429, retry_after: 5 } } }, { route: "config", fault: "reset_mid_body" },
  ]);
  await enter("visitor-id", "visitor-7");
  await enter("visitor-attributes", `{"plan": "pro", "country": "DE"}`);
  await tab.run(() => document.getElementById("visitor-form").requestSubmit());
  await shows("visitor-result", "visitor-7 gets");
  await tab.run(() => { document.querySelectorAll("#decisions details")[1].open = true; });
  await shows("refused-list", "must not be empty");
  await shows("pending", "reset_mid_body");
}

/** In the page: whether it is wider than the window, and the texts with a contrast below 4.5. */
function unreadable() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const [r, g, b] = rgb(color).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      if (rgb(getComputedStyle(at).backgroundColor)[3] > 0) return getComputedStyle(at).backgroundColor;
    }
    return "white";
  };
  const pale = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    if (!hasText || !element.checkVisibility()) continue;
    const [above, below] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
    if ((above + 0.05) / (below + 0.05) < 4.5) pale.add(`${element.tagName} ${element.className} ${element.innerText.slice(0, 40)}`);
  }
  return { wide: document.documentElement.scrollWidth > window.innerWidth, pale: [...pale] };
}
