// The emulator's page: polls for changes and shows them.
import { ask, bounded, byId, el, fill, listOf, parsed, post } from "./dom.js";
import { decision } from "./steps.js";

/** The most that each list shows; the rest is counted. */
const MOST = { experiences: 100, variations: 20, visitors: 40, events: 8, goals: 20, segments: 50, decisions: 200 };
/** Milliseconds between two polls while the emulator is busy, and before a retry when it is unreachable. */
const REST = 200;
const RETRY = 2000;

/** The projects by SDK key, with the revision at which each was read. */
const projects = new Map();
let live = null;
/** The version that is shown, and the filter it is shown with. */
let seen = null;
let filter = "";
let waiting = null;

const rest = (ms) => new Promise((done) => setTimeout(done, ms));

async function follow() {
  for (;;) {
    waiting = new AbortController();
    try {
      const query = new URLSearchParams({ visitor: filter });
      if (seen?.filter === filter) query.set("seen", seen.version);
      const asked = filter;
      live = await ask(`live?${query}`, { signal: waiting.signal });
      seen = { version: live.version, filter: asked };
      await readProjects();
      show();
      say(byId("connection"), "Live");
      await rest(REST);
    } catch (error) {
      if (error.name === "AbortError") continue;
      seen = null;
      say(byId("connection"), `Not connected: ${error.message}`, true);
      await rest(RETRY);
    }
  }
}

/** Polls again at once. */
function look() {
  waiting?.abort();
}

function say(element, text, bad = false) {
  if (element.textContent !== text) element.textContent = text;
  element.classList.toggle("bad", bad);
}

/** A number with its noun. */
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** Runs a button's action and shows its result. */
async function attempt(element, action) {
  try {
    say(element, await action());
  } catch (error) {
    say(element, error.message, true);
  }
}

// Projects

async function readProjects() {
  for (const { key, revision } of live.projects) {
    if (projects.get(key)?.revision !== revision) {
      const read = await ask(`project?${new URLSearchParams({ key })}`);
      const fresh = { ...read, key, served: servedOf(read.text) };
      projects.set(key, fresh);
      if (byId("config-project").value === key) edited(fresh);
      if (byId("visitor-project").value === key) offerSegments();
    }
  }
  for (const key of [...projects.keys()]) {
    if (!live.projects.some((project) => project.key === key)) projects.delete(key);
  }
  for (const select of document.querySelectorAll("select[data-projects]")) {
    const chosen = select.value;
    fill(select, live.projects, ({ key }) => key, ({ key }) => el("option", { value: key }, key));
    if (select.value !== chosen || chosen === "") select.dispatchEvent(new Event("change"));
  }
}

/** The served config; empty if it is not JSON. */
function servedOf(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

function projectCard({ key, ids, file, project, tally }) {
  const [experiences, rest] = bounded(project.experiences, MOST.experiences, "experiences are");
  const [goals] = bounded(project.goals, MOST.goals, "goals are");
  const reached = goals.map((goal) => `${goal.key} ${tally?.goals?.[goal.id] ?? 0}`);
  return el("article", {},
    el("h3", {}, key),
    el("p", { className: "note" }, [key === ids ? null : `account and project ${ids}`, file].filter(Boolean).join(", ")),
    project.problem ? el("p", { className: "note bad" }, `The SDK refuses this config: ${project.problem}.`) : null,
    el("div", { className: "grid" }, experiences.map((one) => experienceCard(one, project, tally?.experiences?.[one.id]))),
    rest ? el("p", { className: "note" }, rest) : null,
    reached.length ? el("p", {}, el("b", {}, "Conversions"), ` ${reached.join(", ")}`) : null);
}

function experienceCard(experience, project, counts = {}) {
  const served = listOf(project.served.experiences).find((one) => String(one?.id) === experience.id) ?? {};
  const [variations, rest] = bounded(experience.variations, MOST.variations, "variations are");
  const taken = experience.variations.reduce((sum, { buckets }) => sum + buckets, 0);
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const restricted = [served.audiences, served.locations].some((ids) => listOf(ids).length) || served.site_area;
  const tags = [
    `takes ${percent(taken / project.buckets)} of ${restricted ? "those who qualify" : "visitors"}`
      + (taken > 0 && taken < project.buckets ? ", with these shares among them" : ""),
    served.environment ? `only in ${served.environment}` : null,
    typeof served.status !== "string" || ["", "active"].includes(served.status) ? null : `${served.status}, so not served`,
    listOf(project.served.archived_experiences).map(String).includes(experience.id) ? "archived" : null,
  ];
  return el("section", { className: "card" },
    el("h4", {}, experience.key),
    el("p", { className: "note" }, tags.filter(Boolean).join(", ")),
    el("table", {},
      el("caption", { className: "unseen" }, `Split of ${experience.key}`),
      el("thead", {}, el("tr", {}, ["Variation", "Configured", "Seen"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, variations.map((variation) => {
        const count = counts[variation.id] ?? 0;
        return el("tr", {},
          el("th", { scope: "row" }, variation.key || variation.id),
          share("configured", taken ? variation.buckets / taken : 0),
          share("seen", total ? count / total : 0, count));
      }))),
    rest ? el("p", { className: "note" }, rest) : null);
}

function share(kind, part, count) {
  const bar = el("span", { className: `bar ${kind}`, ariaHidden: "true" });
  bar.style.setProperty("--part", part);
  const text = count === undefined ? percent(part) : count > 0 ? `${percent(part, 1)}\u00a0(${count})` : "–";
  return el("td", {}, text, bar);
}

const percent = (part, digits = 2) => `${(part * 100).toFixed(digits).replace(/\.?0+$/, "")}\u00a0%`;

// What was received

function show() {
  const { totals } = live;
  const shown = [
    ["config requests", totals.config_requests], ["track requests", totals.track_requests],
    ["bucketing", totals.bucketing], ["conversions", totals.conversion],
    ["refused", totals.refused], ["dropped as bot", totals.dropped_as_bot], ["failed handshakes", totals.failed_handshakes],
  ];
  fill(byId("totals"), shown, ([name]) => name, ([name, count]) =>
    el("div", { className: count > 0 && ["refused", "dropped as bot", "failed handshakes"].includes(name) ? "bad" : "" },
      el("dt", {}, name), el("dd", {}, String(count))));
  const cards = live.projects.map(({ key, ids, file, revision }) =>
    ({ key, ids, file, revision, project: projects.get(key), tally: live.tally[ids] }));
  fill(byId("project-list"), cards, ({ key }) => key, projectCard);
  showEvents();
  say(byId("refused-note"), live.refused.length ? `The latest ${live.refused.length}.` : "Nothing was refused.");
  fill(byId("refused-list"), live.refused, ({ number }) => number, refusedItem);
  fill(byId("pending"), live.faults.map((fault, place) => ({ place, fault })), ({ place }) => place, pendingItem);
  byId("pending-title").textContent = live.faults.length ? "Pending" : "None pending";
}

function showEvents() {
  const visitors = new Map();
  for (const event of live.events) {
    if (!visitors.has(event.visitor)) visitors.set(event.visitor, []);
    visitors.get(event.visitor).push(event);
  }
  const all = [...visitors].map(([visitor, events]) => ({ visitor, events: events.map(eventText) }));
  const [shown, rest] = bounded(all, MOST.visitors, "");
  const latest = live.events.length === 1 ? "The latest event" : `The latest ${live.events.length} events, newest first`;
  const of = rest ? `: ${shown.length} of their ${all.length} visitors. Enter an id to find another.` : ".";
  const found = live.events.length ? latest + of : "No event yet.";
  say(byId("events-note"), filter && !live.events.length ? "No event of such a visitor." : found);
  fill(byId("event-list"), shown, ({ visitor }) => visitor, ({ visitor, events }) => {
    const [latest, more] = bounded(events, MOST.events, "are");
    return el("li", {}, el("h3", {}, visitor), el("ul", {}, latest.map(([kind, text, number]) =>
      el("li", { className: "event" }, el("span", { className: `kind ${kind}` }, kind), " ",
        el("span", {}, `${text} `, el("span", { className: "dim" }, `request\u00a0${number}`)))),
    more ? el("li", {}, more) : null));
  });
}

/** An event with keys in place of ids, if a config has them. */
function eventText(event) {
  const project = [...projects.values()].find(({ key }) =>
    live.projects.some((one) => one.key === key && one.ids === event.ids));
  if (event.goal !== undefined) {
    const goal = project?.goals.find(({ id }) => id === event.goal)?.key ?? event.goal;
    const values = event.values.map(([key, value]) => `${key} ${value}`).join(", ");
    return ["conversion", values ? `${goal}: ${values}` : goal, event.request];
  }
  const experience = project?.experiences.find(({ id }) => id === event.experience);
  const variation = experience?.variations.find(({ id }) => id === event.variation);
  return ["bucketing", `${experience?.key ?? event.experience}: ${variation?.key || event.variation}`, event.request];
}

function refusedItem({ number, title, flaw, status, faults, body }) {
  const [, path, error] = /^([\w.[\]-]+): (.*)$/s.exec(flaw) ?? [null, null, flaw];
  return el("li", {},
    path ? el("code", { className: "field" }, path) : null, path ? " " : null, el("b", { className: "bad" }, error),
    el("p", { className: "note" },
      `request ${number}, ${title}, ${status === null ? "no response" : `status ${status}`}${faults.length ? `, fault ${faults.join(", ")}` : ""}`),
    el("details", {}, el("summary", {}, "Body"), el("pre", { tabIndex: 0 }, body)));
}

// Faults

/** The parameters of each kind of fault, in the order in which they are shown. */
const parametersOf = new Map();

/** The name of a fault, and the rest of the sentence. */
function faultText({ route, times, chance, sdk_key, fault }) {
  const name = typeof fault === "string" ? fault : Object.keys(fault)[0];
  const given = (parametersOf.get(name) ?? []).filter((key) => fault[name]?.[key] !== undefined);
  const details = given.length ? ` (${given.map((key) => `${key} ${fault[name][key]}`).join(", ")})` : "";
  const limits = [
    times ? `for the next ${times === 1 ? "request" : `${times} requests`}` : "until dropped",
    chance ? `with probability ${chance.probability}` : null, sdk_key ? `of ${sdk_key}` : null,
  ];
  return [name, `${details} on ${route === "both" ? "both routes" : route}, ${limits.filter(Boolean).join(", ")}`];
}

function pendingItem({ fault }) {
  const [name, rest] = faultText(fault);
  return el("li", {}, el("b", {}, name), rest);
}

function faultCard({ fault, effect, optional }) {
  const name = typeof fault === "string" ? fault : Object.keys(fault)[0];
  const parameters = typeof fault === "string" ? [] : Object.entries(fault[name]);
  const inputs = parameters.map(([key, value]) => {
    const number = typeof value === "number";
    const limits = key === "status" ? { min: "200", max: "599" } : { min: "0" };
    const kind = number ? { type: "number", required: true, ...limits } : { type: "text" };
    return [key, number, el("input", { ...kind, name: key, value: String(value), autocomplete: "off" })];
  });
  inputs.push(...optional.map(([key, placeholder]) =>
    [key, false, el("input", { type: "text", name: key, placeholder, autocomplete: "off" })]));
  parametersOf.set(name, inputs.map(([key]) => key));
  const form = el("form", {},
    el("button", { type: "submit" }, name), el("p", { className: "note" }, effect),
    inputs.map(([key, , input]) => el("label", {}, `${key} `, input)));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = inputs.filter(([, , input]) => input.value !== "")
      .map(([key, number, { value }]) => [key, number || (key === "retry_after" && /^\d+$/.test(value)) ? Number(value) : value]);
    attempt(byId("fault-result"), () => inject(name, parameters.length ? { [name]: Object.fromEntries(given) } : name));
  });
  return el("li", { className: "card" }, form);
}

async function inject(name, fault) {
  const wanted = { route: byId("fault-route").value, fault };
  const [times, chance, key] = ["fault-times", "fault-chance", "fault-key"].map((id) => {
    const field = byId(id);
    if (!field.checkValidity()) throw new Error(`${field.labels[0].innerText.trim()}: ${field.validationMessage}`);
    return field.value;
  });
  if (times !== "") wanted.times = Number(times);
  if (chance !== "") wanted.chance = { probability: Number(chance), seed: Math.floor(Math.random() * 2 ** 32) };
  if (key !== "") wanted.sdk_key = key;
  await post("faults", JSON.stringify([wanted]));
  return `Injected: ${faultText(wanted).join("")}.`;
}

// Config

let editing = null;

function edited(project) {
  const text = byId("config-text");
  const dirty = editing !== null && editing.key === project.key && text.value !== editing.text;
  if (dirty && text.value !== project.text) {
    editing = { key: project.key, text: project.text };
    return say(byId("config-result"), "Another config is served by now. Your edits are still here.", true);
  }
  // Assigning moves the cursor, and turns CR LF into LF.
  if (text.value !== project.text) text.value = project.text;
  editing = { key: project.key, text: text.value };
  warnings(project);
}

function warnings({ problem, warnings, more_warnings }) {
  const lines = problem ? [{ path: "", message: `The SDK refuses this config: ${problem}.` }] : [...warnings];
  if (more_warnings) lines.push({ path: "", message: `${more_warnings} more warnings.` });
  fill(byId("config-warnings"), lines.map((line, place) => ({ place, ...line })), ({ place }) => place, ({ path, message }) =>
    el("li", {}, path ? el("code", { className: "field" }, path) : null, path ? " " : null, message));
  return lines.length;
}

async function submitConfig(resource, done) {
  const key = byId("config-project").value;
  const answer = await post(`${resource}?${new URLSearchParams({ key })}`, byId("config-text").value);
  const count = warnings(answer);
  const found = count === 0 ? "No warnings." : `${counted(count, "warning")}.`;
  if (resource === "project") editing = { key, text: byId("config-text").value };
  return `${done} ${found}`;
}

// Visitor

function offerSegments() {
  const served = projects.get(byId("visitor-project").value)?.served ?? {};
  const [segments] = bounded(listOf(served.segments).filter(Boolean), MOST.segments, "");
  const items = segments.map(({ id, key }) => ({ id: String(id), key: String(key ?? id) }));
  const fieldset = byId("visitor-segments");
  fieldset.hidden = items.length === 0;
  fieldset.replaceChildren(fieldset.firstElementChild, ...items.map(({ id, key }) =>
    el("label", {}, el("input", { type: "checkbox", value: id }), ` ${key}`)));
}

/** The keys of what an explanation names by id. */
function keysOf(key, { experience_id }) {
  const project = projects.get(key);
  const byId = (list) => new Map(listOf(list).filter(Boolean).map(({ id, key }) => [String(id), String(key || id)]));
  const experience = project?.experiences.find(({ id }) => id === experience_id);
  const { segments, audiences } = project?.served ?? {};
  return { variations: byId(experience?.variations), segments: byId(segments), audiences: byId(audiences) };
}

async function decide() {
  // Of the previous visitor, in case that this one cannot be decided.
  byId("decisions").replaceChildren();
  const visitor = {
    sdk_key: byId("visitor-project").value,
    visitor: byId("visitor-id").value,
    attributes: parsed("Attributes", byId("visitor-attributes").value),
    location: parsed("Location", byId("visitor-location").value),
    environment: byId("visitor-environment").value || null,
    custom_segments: [...document.querySelectorAll("#visitor-segments input:checked")].map(({ value }) => value),
  };
  const { experiences } = await post("decide", JSON.stringify(visitor));
  const [shown, rest] = bounded(experiences, MOST.decisions, "are");
  byId("decisions").replaceChildren(...shown.map((explained) => decision(explained, keysOf(visitor.sdk_key, explained))));
  const count = experiences.filter(({ variation_id }) => variation_id !== null).length;
  return `${visitor.visitor} gets a variation in ${count} of ${experiences.length} experiences. ${rest}`;
}

// What the controls do

byId("event-filter").addEventListener("input", ({ target }) => {
  filter = target.value;
  look();
});
byId("clear-record").addEventListener("click", () =>
  attempt(byId("connection"), async () => (await ask("received", { method: "DELETE" }), "The record is cleared.")));
byId("clear-faults").addEventListener("click", () =>
  attempt(byId("fault-result"), async () => (await ask("faults", { method: "DELETE" }), "No fault is pending.")));
byId("config-project").addEventListener("change", ({ target }) => {
  editing = null;
  const project = projects.get(target.value);
  if (project) edited(project);
  say(byId("config-result"), "");
});
byId("config-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(byId("config-result"), () => submitConfig("project", "Served."));
});
byId("config-check").addEventListener("click", () =>
  attempt(byId("config-result"), () => submitConfig("check", "Checked, not served.")));
byId("config-reload").addEventListener("click", () => byId("config-project").dispatchEvent(new Event("change")));
byId("visitor-project").addEventListener("change", offerSegments);
byId("visitor-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(byId("visitor-result"), decide);
});

ask("fault_kinds").then((kinds) => fill(byId("fault-kinds"), kinds, ({ effect }) => effect, faultCard))
  .catch((error) => say(byId("fault-result"), error.message, true))
  .finally(follow);
