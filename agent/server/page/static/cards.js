// A tool call as a card: what it does, with what, how it goes, what came of it, and whether it may.

import { el, plain, seconds } from "./dom.js";

const STATUS = {
  ok: "done", error: "failed", invalid: "wrong arguments", unknown: "no such tool", timeout: "took too long",
  cancelled: "cancelled", running: "running", waiting: "waits for you", refused: "not done", in_doubt: "in doubt",
};
const TONE = {
  ok: "good", error: "bad", invalid: "bad", unknown: "bad", timeout: "bad", cancelled: "quiet", running: "busy",
  waiting: "wait", refused: "quiet", in_doubt: "wait",
};
const EFFECT = {
  pure: "Only computes: nothing is read or changed.",
  read: "Reads something, changes nothing.",
  write: "Changes something.",
  irreversible: "Cannot be undone: you are asked first.",
};
const DECISION = { approved: "You agreed.", refused: "You said no.", expired: "The question ran out: it was not done." };
const SHOWN_CHARACTERS = 320;
const KEPT_PROGRESS = 5;

export class Card {
  /**
   * @param {string} callId
   * @param {string} name
   * @param {{effect: string, description: string} | undefined} tool
   * @param {{approve: (id: string) => void, refuse: (id: string) => void, cancel: (id: string) => void}} actions
   */
  constructor(callId, name, tool, actions) {
    this.callId = callId;
    this.name = name;
    this.actions = actions;
    this.raw = "";
    this.title = el("h3", { class: "card-name", title: tool?.description ?? "" }, name);
    this.effect = tool ? el("span", { class: `effect ${tool.effect}`, title: EFFECT[tool.effect] }, tool.effect) : null;
    this.status = el("span", { class: "card-status" });
    this.took = el("span", { class: "card-took" });
    this.arguments = el("dl", { class: "pairs" });
    this.progress = el("ul", { class: "progress", "aria-label": "Progress" });
    this.outcome = el("div", { class: "outcome" });
    this.ask = el("div", { class: "ask" });
    this.cancel = el("button", { type: "button", class: "plain small", hidden: true }, "Cancel");
    this.cancel.addEventListener("click", () => {
      this.cancel.disabled = true;
      actions.cancel(this.callId);
    });
    this.node = el(
      "section", { class: "card", "data-call": callId, "aria-label": `Tool ${name}` },
      el("header", {}, this.title, this.effect, el("span", { class: "card-end" }, this.took, this.status, this.cancel)),
      this.arguments, this.progress, this.outcome, this.ask,
    );
    this.#become("writing", "being written", "busy");
  }

  /** The next characters of the arguments, as the model writes them. */
  write(delta) {
    this.raw += delta;
    this.arguments.replaceChildren(el("code", {}, this.raw));
  }

  /** The arguments are whole. */
  ready(found) {
    this.arguments.replaceChildren(...rows(found));
    this.#become("ready", "ready", "busy");
  }

  start() {
    if (this.ask.querySelector("button")) this.ask.replaceChildren();
    this.cancel.hidden = this.cancel.disabled = false;
    this.#become("running", STATUS.running, "busy");
  }

  report(value) {
    this.progress.append(el("li", {}, plain(value)));
    while (this.progress.children.length > KEPT_PROGRESS) this.progress.firstChild.remove();
  }

  /** It ended, or goes on without its turn (`running`), or waits for a person. */
  finish(status, output, tookS) {
    const goesOn = status === "running" || status === "waiting";
    this.cancel.hidden = status !== "running";
    this.took.textContent = tookS > 0 && !goesOn ? seconds(tookS) : "";
    this.#become(status, STATUS[status] ?? status, TONE[status] ?? "quiet");
    if (status !== "waiting") this.outcome.replaceChildren(...shown(output));
  }

  /** A person has to agree. */
  wait(question) {
    this.#become("waiting", STATUS.waiting, "wait");
    this.cancel.hidden = true;
    this.outcome.replaceChildren();
    const id = `question-${this.callId}`;
    const yes = el("button", { type: "button", class: "solid", "aria-describedby": id }, "Approve");
    const no = el("button", { type: "button", class: "plain", "aria-describedby": id }, "Refuse");
    yes.addEventListener("click", () => this.#decide("approve"));
    no.addEventListener("click", () => this.#decide("refuse"));
    this.ask.replaceChildren(el("p", { id }, question), el("div", { class: "buttons" }, yes, no));
  }

  /** Somebody, or time, decided. */
  resolve(decision, by) {
    const told = by === "user" && decision === "approved" ? "You said yes." : (DECISION[decision] ?? decision);
    this.ask.replaceChildren(el("p", { class: "quiet" }, told));
    if (decision === "approved") this.#become("ready", "approved", "busy");
    else this.#become("refused", decision === "expired" ? "expired" : STATUS.refused, "quiet");
  }

  /** What was decided could not be carried out. */
  undecide() {
    for (const button of this.ask.querySelectorAll("button")) button.disabled = false;
  }

  #decide(what) {
    for (const button of this.ask.querySelectorAll("button")) button.disabled = true;
    this.actions[what](this.callId);
  }

  #become(status, words, tone) {
    this.node.dataset.status = status;
    this.node.dataset.tone = tone;
    this.status.textContent = words;
  }
}

function rows(found) {
  return Object.entries(found).map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, plain(value))),
  );
}

/** What a tool returned: fields as such, long text folded. */
function shown(output) {
  if (!output) return [];
  const fields = fieldsOf(output);
  if (fields && output.length <= SHOWN_CHARACTERS) return [el("dl", { class: "pairs" }, ...rows(fields))];
  if (output.length <= SHOWN_CHARACTERS) return [el("p", { class: "result" }, output)];
  const short = `${output.slice(0, SHOWN_CHARACTERS).trimEnd()}…`;
  const more = el("details", {}, el("summary", {}, "All of it"), el("p", { class: "result" }, output));
  const start = el("p", { class: "result" }, short);
  more.addEventListener("toggle", () => (start.hidden = more.open));
  return [start, more];
}

/** The fields of a JSON object, or null. */
function fieldsOf(text) {
  if (!text.startsWith("{")) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null; // text that looks like it, or was shortened
  }
}
