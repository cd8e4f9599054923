// Elements without HTML strings: whatever comes from models, tools and users becomes text.

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, unknown>} attributes  `on...` are listeners; false and null leave an attribute out
 * @param {...(Node | string | null)} children  strings become text
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** The element of an id. */
export const byId = (id) => document.getElementById(id);

/** Seconds for people: 40 ms, 0.74 s, 12 s. */
export function seconds(value) {
  if (value < 0.1) return `${Math.round(value * 1000)} ms`;
  return value < 10 ? `${value.toFixed(value < 1 ? 2 : 1)} s` : `${Math.round(value)} s`;
}

/** A value of a tool's arguments or progress, as one line. */
export function plain(value) {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "none";
  return JSON.stringify(value);
}

/** What is kept over visits, where the browser lets us. */
export const stored = {
  get(name, storage = "localStorage") {
    try {
      return window[storage].getItem(`sayso.${name}`);
    } catch {
      return null;
    }
  },
  set(name, value, storage = "localStorage") {
    try {
      if (value === null) window[storage].removeItem(`sayso.${name}`);
      else window[storage].setItem(`sayso.${name}`, value);
    } catch {
      // storage is closed to this page: it is forgotten with the page
    }
  },
};
