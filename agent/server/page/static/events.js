// The events of a conversation, put into the transcript, the cards and the player.

import { latencyBar, Stopwatch } from "./latency.js";
import { samplesOf } from "./player.js";

const TELL_EVERY_MS = 100;

export class Events {
  /**
   * @param {object} parts
   * @param {import("./transcript.js").Transcript} parts.transcript
   * @param {import("./player.js").Player} parts.player
   * @param {import("./mic.js").Microphone} parts.mic
   * @param {(command: object) => void} parts.tell   to the server, where it is there
   * @param {object} parts.actions                   of cards
   * @param {() => void} parts.onChange              something is different now
   * @param {(message: string) => void} parts.onError
   */
  constructor(parts) {
    Object.assign(this, parts);
    this.begin({ speaks: false, tools: [] });
  }

  /** Another conversation. */
  begin(agent) {
    this.agent = agent;
    this.tools = new Map(agent.tools.map((tool) => [tool.name, tool]));
    this.watches = new Map(); // a turn's Stopwatch
    this.stages = new Map(); // a turn's, once it is done
    this.generation = 0;
    this.newest = 0; // turn that began
    this.isBusy = false;
    this.runs = new Set(); // calls
    this.asked = null; // when the user was done, of the turn that comes next
    this.toldAt = 0;
    this.clockS = 0; // the newest time of the session's clock
    this.whenIdle = [];
  }

  /** The user is done, and waits. */
  ask(atMs = performance.now()) {
    this.asked = atMs;
  }

  /** Do something once no turn runs. */
  afterTurn(work) {
    if (this.isBusy) this.whenIdle.push(work);
    else work();
  }

  /** Be quiet, and mark what is not heard any more. How much of the newest turn was heard, in milliseconds. */
  hush({ marks = true } = {}) {
    const { turn: number, heardMs, receivedMs, isPlaying } = this.player;
    this.player.stop(this.isBusy ? this.newest : number);
    const turn = this.transcript.turns.get(number);
    if (!marks) turn?.whole();
    else if (turn && (isPlaying || (this.isBusy && number === this.newest)) && heardMs < receivedMs) turn.cut(heardMs);
    return number === this.newest ? Math.round(heardMs) : 0;
  }

  /** One event. */
  take(event) {
    if (typeof event.time_s === "number") this.clockS = Math.max(this.clockS, event.time_s);
    const handler = HANDLERS[event.type];
    if (!handler) return;
    handler.call(this, event);
    this.onChange();
  }

  /** So much of a turn was heard. */
  played(number, ms) {
    this.transcript.turns.get(number)?.played(ms);
    const root = document.documentElement.dataset;
    root.playedTurn = String(number);
    root.playedMs = String(ms);
    const now = performance.now();
    if (number === this.newest && (now - this.toldAt >= TELL_EVERY_MS || !this.player.isPlaying)) {
      this.toldAt = now;
      this.tell({ type: "played", turn: number, ms });
    }
  }

  /** A turn's first sound is heard. */
  began(number, atMs) {
    const watch = this.watches.get(number);
    if (!watch || watch.heard !== null) return;
    watch.heard = atMs;
    if (watch.toHeardMs !== null) document.documentElement.dataset.heardAfterMs = String(Math.round(watch.toHeardMs));
    if (this.stages.has(number)) this.#bar(number);
    this.onChange();
  }

  /** Nothing is left to play. */
  silent(number) {
    const turn = this.transcript.turns.get(number);
    if (turn?.isOver) turn.whole();
    this.onChange();
  }

  turn(event) {
    return this.transcript.turn(event.turn, this.agent.speaks);
  }

  card(event) {
    return this.transcript.card(this.turn(event), event.call_id, event.name, this.tools.get(event.name), this.actions);
  }

  over(event) {
    this.isBusy = false;
    for (const work of this.whenIdle.splice(0)) work();
    return this.transcript.turns.get(event.turn);
  }

  #bar(number) {
    const turn = this.transcript.turns.get(number);
    const bar = latencyBar(this.stages.get(number), this.watches.get(number) ?? new Stopwatch());
    turn?.foot.querySelector(".latency")?.remove();
    if (bar) turn?.foot.append(bar);
  }

  done(event) {
    const turn = this.over(event);
    this.player.finish(event.turn);
    if (!turn) return;
    if (event.reason === "interrupted" && turn.paragraphs.length > 0) turn.cut(turn.saidMs, event.text);
    turn.end({ playable: this.player.context !== null && this.player.turn === event.turn });
    if (turn.isEmpty) {
      this.transcript.drop(turn);
      return;
    }
    this.transcript.announce(event.text && `Agent: ${event.text}`);
    this.stages.set(event.turn, event.stages);
    this.#bar(event.turn);
  }
}

const HANDLERS = {
  turn_started(event) {
    this.isBusy = true;
    this.newest = event.turn;
    const watch = new Stopwatch();
    watch.began = performance.now() - (this.clockS - event.time_s) * 1000;
    watch.asked = this.asked;
    this.asked = null;
    this.runs.clear();
    this.watches.set(event.turn, watch);
  },
  speech_started() {
    this.hush();
  },
  speech_ended(event) {
    this.ask(this.mic.timeOf(event.at_ms));
  },
  heard(event) {
    this.turn(event).heard(event.text);
    this.transcript.announce(`You: ${event.text}`);
  },
  text_delta(event) {
    if (event.generation >= this.generation) this.turn(event).write(event.text);
  },
  audio_delta(event) {
    if (event.generation < this.generation) return;
    const { audio, text, filler } = event;
    const [fromMs, toMs] = this.player.play(event.turn, samplesOf(audio), audio.sample_rate_hz);
    if (filler) this.turn(event).fill(text);
    else this.turn(event).sounds(text, fromMs, toMs);
  },
  call_opened(event) {
    this.card(event);
  },
  call_arguments(event) {
    this.transcript.cards.get(event.call_id)?.write(event.delta);
  },
  call_ready(event) {
    this.card(event).ready(event.arguments);
  },
  call_started(event) {
    this.card(event).start();
    this.runs.add(event.call_id);
  },
  call_progress(event) {
    this.card(event).report(event.value);
  },
  call_finished(event) {
    const card = this.card(event);
    card.finish(event.status, event.output, event.seconds);
    if (event.status !== "running") this.runs.delete(event.call_id);
    if (event.status !== "waiting") this.transcript.announce(`Tool ${event.name}: ${card.status.textContent}.`);
  },
  approval_requested(event) {
    this.card(event).wait(event.question);
    this.transcript.announce(`Approve or refuse: ${event.question}`);
  },
  approval_resolved(event) {
    const card = this.card(event);
    card.resolve(event.decision, event.by);
    if (event.decision === "approved") this.transcript.agreed = card;
  },
  interrupted(event) {
    this.generation = event.generation;
    if (this.player.turn === event.turn) this.player.stop();
    this.transcript.turns.get(event.turn)?.cut(event.played_ms);
  },
  turn_done(event) {
    this.done(event);
  },
  turn_failed(event) {
    this.over(event);
    this.player.finish(event.turn);
    this.turn(event).note(event.message, "error");
    this.turn(event).end({ playable: this.player.turn === event.turn });
    this.transcript.announce(`This went wrong: ${event.message}`);
  },
  error(event) {
    for (const card of this.transcript.cards.values()) card.undecide();
    this.onError(event.error.message);
  },
};
