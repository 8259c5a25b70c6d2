// Builds and updates elements. Untrusted text is only ever inserted as text: nothing here parses markup.

/** An element with properties and children; a child that is a string becomes text. */
export function el(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/**
 * Makes the children of `parent` show `items`, one each. An item that looks as before keeps its element, and with it
 * the focus, the selection and what is unfolded.
 */
export function fill(parent, items, keyOf, make) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const shows = JSON.stringify(item);
    let child = before.get(key);
    before.delete(key);
    if (child?.shows !== shows) {
      const fresh = make(item);
      fresh.dataset.key = key;
      fresh.shows = shows;
      if (child) {
        keepUnfolded(child, fresh);
        if (at === child) at = fresh;
        child.replaceWith(fresh);
      }
      child = fresh;
    }
    if (at === child) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of before.values()) child.remove();
}

function keepUnfolded(before, fresh) {
  const old = [...before.querySelectorAll("details")];
  for (const [place, details] of [...fresh.querySelectorAll("details")].entries()) {
    details.open = old[place]?.open ?? details.open;
  }
  const focused = old.findIndex((details) => details.firstElementChild === document.activeElement);
  if (focused >= 0) queueMicrotask(() => fresh.querySelectorAll("details")[focused]?.firstElementChild.focus());
}

/** At most `most` items, and a sentence about the rest. */
export function bounded(items, most, what) {
  const rest = items.length - most;
  return [items.slice(0, most), rest > 0 ? `${rest} more ${what} not shown.` : ""];
}

/** The emulator's response to a request; an error carries its message. */
export async function ask(resource, options) {
  const response = await fetch(resource, { cache: "no-store", ...options });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? `status ${response.status}`);
  return answer;
}

export const post = (resource, body) => ask(resource, { method: "POST", body });

/** Parses a form field as JSON; the error names the field. */
export function parsed(label, text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${label}: ${error.message}`);
  }
}

/** The fields of an object that may be anything. */
export const listOf = (value) => (Array.isArray(value) ? value : []);
