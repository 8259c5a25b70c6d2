// An explained decision as elements: one line per step, and one per rule item.
import { bounded, el } from "./dom.js";

const STEPS = 40;

/** One experience; `keys` are the keys of its variations, and of all segments and audiences, by id. */
export function decision(explanation, keys) {
  const { experience_key, variation_key, variation_id, why, steps } = explanation;
  const answer = variation_id === null
    ? el("span", { className: "no" }, `no variation: ${why}`)
    : el("span", { className: "yes" }, `${variation_key || variation_id}, ${why}`);
  return el("li", {}, el("details", {},
    el("summary", {}, el("b", {}, experience_key), " ", answer),
    el("ol", { className: "steps" }, steps.map((step) => el("li", {}, text(step, keys), rules(step))))));
}

function text(step, keys) {
  const [name, says, passed] = told(step, (kind, id) => keys[kind].get(id) ?? id);
  const verdict = passed === undefined ? null : outcome(passed ? "passed" : "failed");
  return [el("b", {}, name), says ? ` ${says}` : "", verdict && ": ", verdict];
}

/** How a check came out, after what was checked; one that turns a visitor away is as ordinary as one that does not. */
const outcome = (text) => el("span", { className: ["passed", "matched"].includes(text) ? "yes" : "no" }, text);

function told(step, keyOf) {
  switch (step.step) {
    case "archived":
      return ["archived", step.archived ? "yes" : "no"];
    case "environment":
      return step.required === null ? ["environment", "all"]
        : ["environment", `${step.required}, ${step.given ?? "none"} requested`, step.passed];
    case "stored":
      return ["stored", step.variation_id === null ? (step.stale ? "a variation that is gone" : "nothing") : keyOf("variations", step.variation_id)];
    case "location":
      return step.restriction === "none" ? ["location", "anywhere"] : ["location", step.restriction.replace("_", " "), step.passed];
    case "audiences": {
      if (step.matching === "none") return ["audiences", "everyone"];
      const skipped = step.skipped.map((id) => keyOf("audiences", id)).join(", ");
      return ["audiences", `${step.matching} of them${skipped && `, permanent ones skipped: ${skipped}`}`, step.passed];
    }
    case "segments":
      return step.required.length === 0 ? ["custom segments", "everyone"]
        : ["custom segments", `one of ${step.required.map((id) => keyOf("segments", id)).join(", ")}`, step.passed];
    case "forced":
      return ["forced", keyOf("variations", step.variation_id), step.found];
    case "bucketing": {
      const edges = step.edges.map((edge) => `${keyOf("variations", edge.variation_id)} from ${edge.lower} to ${edge.upper}`).join(", ");
      return ["bucketing", `hash ${step.hash}, bucket ${step.bucket}; ${step.layout}: ${edges || "no variation"}`, step.variation_id !== null];
    }
    default:
      return [step.step, JSON.stringify(step)];
  }
}

/** The locations or audiences of a step with the items that were evaluated. */
function rules(step) {
  if (!step.evaluated?.length) return null;
  const [shown, rest] = bounded(step.evaluated, STEPS, "are");
  return el("ul", {}, shown.map((set) => el("li", {},
    set.key || set.id || "site area",
    set.other_experience === null ? "" : `, ${set.bucketed ? "has" : "has not"} a variation of ${set.other_experience}`,
    ": ", outcome(set.matched ? "matched" : "not matched"),
    items(set.items))), rest ? el("li", {}, rest) : null);
}

function items(list) {
  if (!list.length) return null;
  const [shown, rest] = bounded(list, STEPS, "are");
  return el("ul", {}, shown.map(item), rest ? el("li", {}, rest) : null);
}

function item({ path, key, match_type, negated, operand, attribute_type, attribute, result }) {
  const value = attribute_type === "absent" ? "" : `, the visitor's ${attribute === undefined ? attribute_type : JSON.stringify(attribute)}`;
  // The place of the rule in the config helps who edits it, on pointing only.
  return el("li", { title: path },
    el("code", {}, comparison(key ?? "?", match_type, negated, operand)),
    `${value}: `, outcome(result.replaceAll("_", " ")));
}

/** Comparisons as a sentence has them: as they are, and negated. */
const VERBS = {
  equals: ["equals", "does not equal"], equalsNumber: ["equals", "does not equal"], matches: ["equals", "does not equal"],
  less: ["is less than", "is not less than"], lessEqual: ["is at most", "is not at most"],
  contains: ["contains", "does not contain"], isIn: ["is in", "is not in"],
  startsWith: ["starts with", "does not start with"], endsWith: ["ends with", "does not end with"],
  regexMatches: ["matches the pattern", "does not match the pattern"],
};

function comparison(key, type, negated, operand) {
  if (["exists", "not_exists", "doesNotExist"].includes(type)) {
    return `${key} ${(type === "exists") !== negated ? "exists" : "does not exist"}`;
  }
  const [plain, not] = VERBS[type] ?? [type, `not ${type}`];
  return `${key} ${negated ? not : plain} ${JSON.stringify(operand)}`;
}
