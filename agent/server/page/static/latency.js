// The latency of a turn as a bar: when each stage was reached, and when the first sound was heard in this browser.

import { el, seconds } from "./dom.js";

const STAGES = {
  heard: ["understood", "listen"],
  first_text: ["first word", "model"],
  call_opened: ["chose a tool", "model"],
  call_ready: ["its arguments", "model"],
  tools_done: ["tools done", "tool"],
  first_sound: ["first sound made", "model"],
  first_audio: ["answer's first sound made", "model"],
};

/** What the browser measures of one turn, on its own clock (`performance.now()`, milliseconds). */
export class Stopwatch {
  constructor() {
    this.asked = null; // the user's last sound, the released button, or the sent text
    this.began = null; // the turn
    this.heard = null; // its first sound came out of the loudspeaker
  }

  get toHeardMs() {
    return this.asked === null || this.heard === null ? null : Math.max(0, this.heard - this.asked);
  }
}

/**
 * @param {Record<string, number>} stages  seconds from the turn's start, from `turn_done`
 * @param {Stopwatch} watch
 */
export function latencyBar(stages, watch) {
  const offsetS = watch.asked === null || watch.began === null ? 0 : Math.max(0, (watch.began - watch.asked) / 1000);
  const points = Object.entries(stages)
    .filter(([name]) => name in STAGES)
    .map(([name, atS]) => ({ words: STAGES[name][0], kind: STAGES[name][1], atS: offsetS + atS }));
  if (offsetS > 0.005) points.push({ words: "the turn began", kind: "pause", atS: offsetS });
  points.sort((one, other) => one.atS - other.atS);
  const heardS = watch.toHeardMs === null ? null : watch.toHeardMs / 1000;
  if (points.length === 0 && heardS === null) return null;
  const wholeS = Math.max(heardS ?? 0, ...points.map(({ atS }) => atS), 0.001);
  const marks = heardS === null ? points : [...points, { words: "heard in this browser", kind: "ear", atS: heardS }];
  marks.sort((one, other) => one.atS - other.atS);
  const title = heardS === null ? firstOf(points) : `${seconds(heardS)} until you heard it`;
  return el(
    "details", { class: "latency", "data-heard-ms": heardS === null ? null : Math.round(heardS * 1000) },
    el("summary", {}, bar(marks, wholeS), el("span", {}, title)),
    table(marks),
  );
}

function firstOf(points) {
  const [first] = points.filter(({ kind }) => kind === "model");
  return first ? `${seconds(first.atS)} to the ${first.words}` : `${seconds(points.at(-1).atS)} in all`;
}

function bar(marks, wholeS) {
  const found = el("span", { class: "bar", "aria-hidden": "true" });
  let fromS = 0;
  for (const { kind, atS } of marks) {
    const part = el("span", { class: kind });
    part.style.flexGrow = String(Math.max(0, atS - fromS) / wholeS);
    found.append(part);
    fromS = Math.max(fromS, atS);
  }
  return found;
}

function table(marks) {
  const rows = marks.map(({ words, kind, atS }) =>
    el("li", {}, el("span", { class: `dot ${kind}`, "aria-hidden": "true" }), el("span", {}, words), el("span", {}, seconds(atS))),
  );
  return el("ol", { class: "stages" }, ...rows);
}
