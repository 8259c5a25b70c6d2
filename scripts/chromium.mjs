// A headless Chromium, driven over a pipe by its DevTools protocol. Without any package from npm.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Milliseconds after which a condition that does not come is an error. */
const PATIENCE = 20_000;

/** The installed browser, or none. */
export const found = () =>
  ["chromium", "chromium-browser", "google-chrome"].find((name) => spawnSync(name, ["--version"]).status === 0);

export class Chromium {
  #child;
  #profile = mkdtempSync(join(tmpdir(), "chromium-"));
  #last = 0;
  #waiting = new Map();
  #listeners = new Map();

  constructor(...flags) {
    // No sandbox: it does not start as root, which is what a container runs as. Only our own pages are opened.
    const own = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
      "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe", `--user-data-dir=${this.#profile}`];
    this.#child = spawn(found(), [...own, ...flags], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    let rest = Buffer.alloc(0);
    this.#child.stdio[4].on("data", (data) => {
      rest = Buffer.concat([rest, data]);
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        this.#heard(JSON.parse(rest.subarray(0, end)));
        rest = rest.subarray(end + 1);
      }
    });
  }

  #heard({ id, result, error, method, params, sessionId }) {
    if (id === undefined) return this.#listeners.get(sessionId)?.(method, params);
    const [done, failed] = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) failed(new Error(error.message));
    else done(result);
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#last;
    this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((done, failed) => this.#waiting.set(id, [done, failed]));
  }

  /** A new tab with this page. */
  async open(url, { width = 1280, height = 900, dark = false } = {}) {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const tab = new Tab((method, params) => this.send(method, params, sessionId), targetId);
    this.#listeners.set(sessionId, (method, params) => tab.heard(method, params));
    for (const domain of ["Page", "Runtime", "Network", "Log"]) await tab.send(`${domain}.enable`);
    await tab.look({ width, height, dark });
    await tab.send("Page.navigate", { url });
    return tab;
  }

  async close() {
    const ended = new Promise((done) => this.#child.once("exit", done));
    await this.send("Browser.close");
    await ended;
    rmSync(this.#profile, { recursive: true, force: true });
  }
}

class Tab {
  /** The addresses that the page asked for, and what went wrong in it. */
  requests = [];
  errors = [];

  constructor(send, target) {
    this.send = send;
    this.target = target;
  }

  heard(method, params) {
    if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
    if (method === "Runtime.exceptionThrown") this.errors.push(JSON.stringify(params.exceptionDetails));
    if (method === "Log.entryAdded" && params.entry.level === "error") this.errors.push(`${params.entry.text} ${params.entry.url ?? ""}`);
  }

  async look({ width, height, dark }) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    const value = dark ? "dark" : "light";
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }, { name: "prefers-reduced-motion", value: "reduce" }] });
  }

  /** The value of an expression in the page, or of what a function returns there. */
  async run(code, ...parameters) {
    const expression = typeof code === "function" ? `(${code})(${parameters.map((one) => JSON.stringify(one)).join(", ")})` : code;
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(`${exceptionDetails.exception?.description ?? exceptionDetails.text} in ${expression.slice(0, 300)}`);
    return result.value;
  }

  /** Waits until a function in the page returns something true, looking whenever the page changes. */
  async until(code, ...parameters) {
    const condition = `(${code})(${parameters.map((one) => JSON.stringify(one)).join(", ")})`;
    for (;;) {
      try {
        return await this.run(`new Promise((done, failed) => {
          const look = () => { const value = ${condition}; if (value) { observer.disconnect(); done(value); } return value; };
          const observer = new MutationObserver(look);
          observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
          if (!look()) setTimeout(() => failed(new Error("not within ${PATIENCE} ms; the page shows: " + document.body?.innerText.slice(0, 1500))), ${PATIENCE});
        })`);
      } catch (error) {
        // The page was left while it was watched.
        if (!/context was destroyed|Cannot find context|navigated or closed/.test(error.message)) throw error;
      }
    }
  }

  async key(key, { text, shift = false } = {}) {
    const code = { Tab: 9, Enter: 13, " ": 32 }[key];
    const event = { key, code: key === " " ? "Space" : key, windowsVirtualKeyCode: code, modifiers: shift ? 8 : 0 };
    await this.send("Input.dispatchKeyEvent", { type: text ? "keyDown" : "rawKeyDown", text, ...event });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event });
  }

  type(text) {
    return this.send("Input.insertText", { text });
  }

  /** A PNG of the page from its top, all of it unless a height is given. */
  async picture(height) {
    const { cssContentSize } = await this.send("Page.getLayoutMetrics");
    const clip = { x: 0, y: 0, scale: 1, width: cssContentSize.width, height: height ?? cssContentSize.height };
    const { data } = await this.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: true, clip });
    return Buffer.from(data, "base64");
  }
}
