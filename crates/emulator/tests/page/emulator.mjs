// The emulator as a process of its own, and a client that sends what an SDK would send.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export class Emulator {
  static async start(configs = {}) {
    const emulator = new Emulator();
    emulator.folder = mkdtempSync(join(tmpdir(), "emulator-"));
    const options = ["--https", "0", "--http", "0", "--quiet", "--ca-out", join(emulator.folder, "ca.pem")];
    for (const [key, config] of Object.entries(configs)) {
      const file = join(emulator.folder, `${key.replaceAll("/", "-")}.json`);
      writeFileSync(file, JSON.stringify(config));
      options.push("--project", `${key}=${file}`);
    }
    emulator.process = spawn(process.env.EMULATOR, options, { stdio: ["ignore", "pipe", "inherit"] });
    for await (const line of createInterface({ input: emulator.process.stdout })) {
      const [name, value] = line.split(/\s+/);
      if (name === "page") emulator.page = value;
      if (line.startsWith("export CONVERT_SDK_KEY=")) emulator.key = line.split("=")[1];
      if (line.startsWith("export CONVERT_CA_FILE")) break;
    }
    emulator.origin = new URL(emulator.page).origin;
    return emulator;
  }

  async stop() {
    this.process.kill();
    await once(this.process, "exit");
    rmSync(this.folder, { recursive: true });
  }

  async admin(resource, method = "GET", body = undefined) {
    const response = await fetch(this.page + resource, { method, body: body && JSON.stringify(body) });
    return response.json();
  }

  async track(visitors, { key = this.key, ...fields } = {}) {
    const [accountId, projectId] = key.split("/");
    const response = await fetch(`${this.origin}/track/${key}`, {
      method: "POST",
      headers: { "content-type": "application/json", "user-agent": "ConvertAgent/1.0" },
      body: JSON.stringify({ accountId, projectId, enrichData: false, source: "page-test", visitors, ...fields }),
    });
    return response.status;
  }

  /** What an SDK would send for this visitor of the sample project, who may buy something. */
  async visit(id, { amount, ...facts } = {}) {
    const { experiences } = await this.admin("decide", "POST", { sdk_key: this.key, visitor: id, ...facts });
    const decided = experiences.filter(({ variation_id }) => variation_id !== null);
    const events = decided.map(({ experience_id, variation_id }) => (
      { eventType: "bucketing", data: { experienceId: experience_id, variationId: variation_id } }));
    if (amount !== undefined) {
      const goalData = [{ key: "amount", value: amount }, { key: "transactionId", value: `t-${id}` }];
      events.push({ eventType: "conversion", data: { goalId: "100370101", goalData } });
    }
    return { visitorId: id, events };
  }
}
