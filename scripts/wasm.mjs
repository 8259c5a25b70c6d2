// Runs the vectors against the decisions as WebAssembly. `scripts/wasm` builds the module and runs this.
import { readFileSync, readdirSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const VECTORS = new URL("../tests/parity/vectors/", import.meta.url);
const module = new WebAssembly.Module(readFileSync(process.argv[2]));
// A pure computation needs nothing from its host.
const imports = WebAssembly.Module.imports(module);
if (imports.length > 0) throw new Error(`it imports ${JSON.stringify(imports)}`);

function compare(name, lines) {
  const { push, compare, pull } = new WebAssembly.Instance(module).exports;
  for (const byte of Buffer.from(`${name}\n${lines}`)) push(byte);
  const report = Buffer.alloc(compare());
  for (let at = 0; at < report.length; at++) report[at] = pull(at);
  return JSON.parse(report.toString());
}

const files = readdirSync(VECTORS).filter((file) => file.endsWith(".jsonl.gz"));
const texts = new Map(
  files.map((file) => [file.replace(".jsonl.gz", ""), gunzipSync(readFileSync(new URL(file, VECTORS))).toString()]),
);
let compared = 0;
let differ = 0;
for (const [name, text] of texts) {
  const { checked, failures } = compare(name, text);
  const count = Object.values(checked).reduce((sum, one) => sum + one, 0);
  console.log(`${name}: ${count} answers compared, ${failures.length} differ`);
  for (const failure of failures.slice(0, 10)) console.log(`  ${failure.slice(0, 600)}`);
  compared += count;
  differ += failures.length;
}
// A wrong answer must be detected.
const wrong = texts.get("rules").replace('"expected":true', '"expected":false');
if (compare("rules", wrong).failures.length !== 1) throw new Error("a wrong answer was not seen");
if (texts.size === 0 || compared === 0 || differ > 0) process.exit(1);
console.log(`${compared} answers in WebAssembly are those of the official SDK`);
