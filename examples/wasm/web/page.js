// A shop that decides and tracks in the browser. `?key=…&config=…&track=…` names the project and its endpoints.
import { Convert } from "./convert.js";

const HEADLINES = { original: "A shop with experiments", short: "Experiments", playful: "Shop till you drop (a p-value)" };
const given = new URLSearchParams(location.search);
const byId = (id) => document.getElementById(id);
const attributes = { country: "DE", age: 30 };

let convert;
let visitor = localStorage.getItem("visitor") ?? crypto.randomUUID();

function list(id, entries) {
  byId(id).replaceChildren(...entries.flatMap(([name, value]) =>
    [["dt", name], ["dd", value]].map(([tag, text]) => Object.assign(document.createElement(tag), { textContent: String(text) }))));
}

function show() {
  localStorage.setItem("visitor", visitor);
  const { variations, features } = convert.decide(visitor, attributes);
  const headline = variations["homepage-headline"];
  byId("headline").textContent = HEADLINES[headline] ?? HEADLINES.original;
  byId("headline").className = headline ?? "";
  list("variations", Object.entries(variations));
  list("features", Object.entries(features).flatMap(([feature, variables]) =>
    Object.entries(variables).map(([name, value]) => [`${feature}.${name}`, JSON.stringify(value)])));
  showLedger();
}

function showLedger() {
  const { recorded, delivered, pending, deduplicated, requests, retries } = convert.stats();
  list("ledger", Object.entries({ recorded, delivered, pending, deduplicated, requests, retries }));
}

byId("buy").addEventListener("click", () => {
  const status = convert.convert(visitor, "purchase", { attributes, revenue: 10.3 });
  byId("state").textContent = `Purchase: ${status}`;
  showLedger();
});
byId("other").addEventListener("click", () => {
  visitor = crypto.randomUUID();
  show();
});
// The last moment at which a page is sure to run.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") convert?.flush().catch(() => {});
});

try {
  convert = await Convert.load("convert.wasm");
  await convert.start({
    sdkKey: given.get("key") ?? "10035569/10034190",
    configUrl: given.get("config") ?? "http://127.0.0.1:8080",
    trackUrl: given.get("track") ?? "http://127.0.0.1:8080",
  });
  byId("state").textContent = "Ready";
  for (const button of document.querySelectorAll("button")) button.disabled = false;
  show();
  setInterval(showLedger, 500);
} catch (error) {
  byId("state").textContent = `Not started: ${error.message}`;
}
// For the console, and for the tests.
window.convert = convert;
