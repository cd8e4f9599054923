// What both sides said, turn by turn. Words that were not heard yet are pale; what was cut off is struck through.

import { Card } from "./cards.js";
import { el } from "./dom.js";

/** One turn: what was said, and what came of it. */
export class Turn {
  constructor(number, speaks) {
    this.number = number;
    this.speaks = speaks; // its words are pale until they are heard
    this.text = ""; // of the whole reply
    this.paragraphs = []; // of the reply; tool cards part them
    this.segments = []; // {text, from, to, fromMs, toMs}: which words sound when; characters and milliseconds
    this.saidMs = 0;
    this.isOver = false;
    this.isCut = false;
    this.you = el("p", { class: "you", hidden: true });
    this.body = el("div", { class: "body" });
    this.foot = el("div", { class: "foot" });
    this.node = el("li", { class: "turn", "data-turn": number }, this.you, this.body, this.foot);
  }

  get isEmpty() {
    return this.you.hidden && this.body.childElementCount === 0;
  }

  heard(text) {
    this.you.replaceChildren(el("span", { class: "sr" }, "You: "), text);
    this.you.hidden = false;
  }

  /** The next words of the reply. */
  write(text) {
    if (this.isCut) return;
    const last = this.paragraphs.at(-1);
    if (last === undefined || last.node !== this.body.lastElementChild) {
      if (text.trim() === "" && last === undefined) return;
      this.#paragraph();
    }
    this.text += text;
    this.paragraphs.at(-1).to = this.text.length;
    this.#paint();
  }

  /** A line that bridges a wait: no part of the reply. */
  fill(text) {
    if (text.trim()) this.body.append(el("p", { class: "filler" }, text));
  }

  add(card) {
    this.body.append(card.node);
  }

  /** These words sound from one moment of the turn to another. */
  sounds(text, fromMs, toMs) {
    const last = this.segments.at(-1);
    if (text.trim() === "" && last) last.toMs = toMs; // the same words go on
    else this.segments.push({ text: text.trim(), from: null, to: null, fromMs, toMs });
  }

  /** So much of its sound was heard. */
  played(ms) {
    this.saidMs = ms;
    if (!this.isCut) this.#paint();
  }

  /** The turn is over; without sound all of it can be read. */
  end({ playable }) {
    this.isOver = true;
    if (this.segments.length === 0 || !playable) this.speaks = false;
    if (!this.isCut) this.#paint();
  }

  /** All of its sound was heard. */
  whole() {
    this.speaks = false;
    if (!this.isCut) this.#paint();
  }

  /** It was cut off after so much of its sound, or after `heard`, where the server says what that was. */
  cut(ms, heard = null) {
    this.saidMs = ms;
    this.isCut = true;
    const known = heard !== null && this.text.startsWith(heard.trimEnd()) ? heard.trimEnd().length : null;
    const at = known ?? (this.speaks ? this.#said() : this.text.length);
    this.#paint(at, "s");
    if (!this.foot.querySelector(".cut-note") && this.text !== "") {
      this.foot.prepend(el("span", { class: "cut-note" }, "cut off"));
    }
  }

  note(text, kind = "note") {
    this.body.append(el("p", { class: kind }, text));
  }

  #paragraph() {
    const said = el("span", { class: "said" });
    const rest = el("span", { class: "ahead" });
    const node = el("p", { class: "reply" }, el("span", { class: "sr" }, "Agent: "), said, rest);
    this.paragraphs.push({ node, said, rest, from: this.text.length, to: this.text.length });
    this.body.append(node);
  }

  #paint(at = this.speaks ? this.#said() : this.text.length, rest = "ahead") {
    for (const paragraph of this.paragraphs) {
      let middle = Math.min(Math.max(at, paragraph.from), paragraph.to);
      while (middle > paragraph.from && middle < paragraph.to && /\s/u.test(this.text[middle])) middle += 1;
      setText(paragraph.said, this.text.slice(paragraph.from, middle));
      setText(paragraph.rest, this.text.slice(middle, paragraph.to).trimEnd());
      paragraph.rest.className = rest === "s" ? "cut" : "ahead";
    }
  }

  /** How many characters of the reply were heard: whole words. */
  #said() {
    let at = 0;
    for (const segment of this.segments) {
      this.#place(segment, at);
      if (segment.fromMs >= this.saidMs) break;
      const share = Math.min(1, (this.saidMs - segment.fromMs) / Math.max(1, segment.toMs - segment.fromMs));
      at = share === 1 ? segment.to : wordEnd(this.text, segment.from + share * (segment.to - segment.from), segment.to);
    }
    return at;
  }

  /** Find a segment's words in the reply. */
  #place(segment, after) {
    if (segment.to !== null) return;
    const found = segment.text === "" ? -1 : this.text.indexOf(segment.text, Math.max(0, after - 1));
    if (found >= 0) [segment.from, segment.to] = [found, found + segment.text.length];
    else if (this.isOver) [segment.from, segment.to] = this.#guess(segment);
    else {
      segment.from = after;
      segment.to = Math.min(this.text.length, after + segment.text.length);
      queueMicrotask(() => (segment.to = null)); // its words are still to come: look again
    }
  }

  /** Where the words are not known, they are spread evenly. */
  #guess(segment) {
    const wholeMs = this.segments.at(-1).toMs;
    return [segment.fromMs, segment.toMs].map((ms) => Math.round((ms / wholeMs) * this.text.length));
  }
}

/** All turns, and who is told of them. */
export class Transcript {
  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} announcer  a live region: whole utterances are put in, not each piece of them
   */
  constructor(list, announcer) {
    this.list = list;
    this.announcer = announcer;
    this.clear();
    this.#followEnd(list.closest("main"));
  }

  clear() {
    this.turns = new Map();
    this.cards = new Map();
    this.agreed = null; // the card of a call that was approved and runs next
    this.list.replaceChildren();
  }

  turn(number, speaks) {
    let turn = this.turns.get(number);
    if (!turn) {
      turn = new Turn(number, speaks);
      this.turns.set(number, turn);
      this.list.append(turn.node);
    }
    return turn;
  }

  drop(turn) {
    this.turns.delete(turn.number);
    turn.node.remove();
  }

  card(turn, callId, name, tool, actions) {
    let card = this.cards.get(callId);
    if (!card && this.agreed?.name === name) {
      card = this.agreed; // what was agreed to runs under an id of its own
      card.callId = callId;
      this.cards.set(callId, card);
      this.agreed = null;
    }
    if (!card) {
      card = new Card(callId, name, tool, actions);
      this.cards.set(callId, card);
      turn.add(card);
    }
    return card;
  }

  /** Say something to those who listen to the page. */
  announce(text) {
    if (!text) return;
    this.announcer.append(el("p", {}, text));
    while (this.announcer.children.length > 6) this.announcer.firstChild.remove();
  }

  /** What was said before this page knew of the conversation. */
  restore(items, tools, actions) {
    this.clear();
    let turn = null;
    let at = 0;
    const next = () => this.turn(`before-${(at += 1)}`, false);
    for (const item of items) {
      if (item.type === "user_input") {
        turn = next();
        turn.heard(item.text || "(spoken)");
      } else if (item.type === "assistant_reply") {
        turn ??= next();
        turn.write(item.text);
        if (item.interrupted) turn.cut(0, item.text);
      } else if (item.type === "tool_call") {
        turn ??= next();
        this.card(turn, item.call_id, item.name, tools.get(item.name), actions).ready(item.arguments);
      } else if (item.type === "tool_output") {
        this.cards.get(item.call_id)?.finish(item.status ?? "ok", item.output, 0);
      }
    }
  }

  /** Whoever reads the end goes on reading the end, whatever grows. */
  #followEnd(scroller) {
    let atEnd = true;
    const look = () => (atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80);
    scroller.addEventListener("scroll", look, { passive: true });
    const resized = new ResizeObserver(() => atEnd && (scroller.scrollTop = scroller.scrollHeight));
    for (const node of [scroller, this.list]) resized.observe(node);
  }
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function wordEnd(text, at, most) {
  const space = text.slice(Math.floor(at), most).search(/\s/u);
  return space < 0 ? most : Math.floor(at) + space;
}
