// Plays replies through the page's one AudioContext, and knows how much of a turn was heard.

import { Resampler } from "./resample.js";

export class Player {
  /**
   * @param {object} listeners
   * @param {(turn: number, ms: number) => void} listeners.onPlayed   so much of a turn was heard by now
   * @param {(turn: number, atMs: number) => void} listeners.onBegan  its first sound is heard then (performance.now())
   * @param {(turn: number) => void} listeners.onIdle                 nothing is left to play
   */
  constructor(listeners) {
    this.listeners = listeners;
    this.context = null;
    this.node = null;
    this.analyser = null;
    this.turn = null; // whose sound came last
    this.receivedMs = 0; // of that turn
    this.heardMs = 0;
    this.isPlaying = false;
    this.dropped = null; // a turn that was stopped: what still comes of it is not played
    this.isComplete = false; // all sound of the turn is here
    this.early = []; // sound that came while the AudioContext was being made
    this.resampler = null;
    this.ready = null;
  }

  /** Make the AudioContext. Browsers want that to happen where the user did something. */
  async open() {
    this.ready ??= this.#open();
    await this.ready;
    if (this.context.state !== "running") await this.context.resume();
    return this.context;
  }

  async #open() {
    this.context = new AudioContext({ latencyHint: "interactive" });
    await this.context.audioWorklet.addModule(new URL("player-worklet.js", import.meta.url));
    this.node = new AudioWorkletNode(this.context, "sayso-player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.#told(data);
    this.analyser = new AnalyserNode(this.context, { fftSize: 1024, smoothingTimeConstant: 0.5 });
    this.node.connect(this.analyser).connect(this.context.destination);
    for (const { turn, samples, rateHz } of this.early.splice(0)) this.#sound(turn, samples, rateHz);
    if (this.isComplete) this.#flush();
  }

  /** The next piece of a turn's sound. Where in the turn it is: [from, to] in milliseconds. */
  play(turn, samples, rateHz) {
    if (turn !== this.turn) this.#next(turn);
    const from = this.receivedMs;
    this.receivedMs += (samples.length / rateHz) * 1000;
    if (this.node) this.#sound(turn, samples, rateHz);
    else if (this.ready) this.early.push({ turn, samples, rateHz });
    return [from, this.receivedMs];
  }

  /** No more sound comes for this turn. */
  finish(turn) {
    if (turn !== this.turn) return;
    this.isComplete = true;
    if (this.node) this.#flush();
  }

  /** Be quiet at once, and play no more of a turn, of which nothing may have come yet. */
  stop(turn = this.turn) {
    this.dropped = turn;
    if (!this.isPlaying) return;
    this.node.port.postMessage({ stop: true });
    this.isPlaying = false;
  }

  /** Play a file, such as the sample of a voice. Ends when it is over or `signal` is aborted. */
  async playFile(bytes, signal) {
    const context = await this.open();
    const source = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(bytes) });
    signal.throwIfAborted();
    source.connect(this.analyser);
    const ended = new Promise((resolve) => source.addEventListener("ended", resolve, { once: true }));
    signal.addEventListener("abort", () => source.stop(), { once: true });
    source.start();
    await ended;
  }

  #next(turn) {
    this.turn = turn;
    this.receivedMs = this.heardMs = 0;
    this.isComplete = false;
    this.resampler = null;
    this.early = [];
  }

  #sound(turn, samples, rateHz) {
    if (turn !== this.turn || turn === this.dropped) return;
    this.resampler ??= new Resampler(rateHz, this.context.sampleRate);
    this.#push(this.resampler.feed(samples));
  }

  /** The last samples, which the resampler holds back. */
  #flush() {
    if (this.resampler && this.turn !== this.dropped) this.#push(this.resampler.flush());
    this.resampler = null;
  }

  #push(samples) {
    if (samples.length === 0) return;
    this.isPlaying = true;
    this.node.port.postMessage({ turn: this.turn, samples }, [samples.buffer]);
  }

  #told({ event, turn, frames, timeS }) {
    if (turn !== this.turn) return;
    if (event === "began") {
      this.listeners.onBegan(turn, this.#heardAt(timeS));
      return;
    }
    const playedMs = (frames / this.context.sampleRate) * 1000;
    const latencyMs = event === "drained" ? 0 : (this.context.outputLatency || this.context.baseLatency || 0) * 1000;
    this.heardMs = Math.min(Math.max(this.heardMs, playedMs - latencyMs), this.receivedMs);
    if (this.dropped === turn) return;
    this.isPlaying = event === "playing";
    this.listeners.onPlayed(turn, Math.round(this.heardMs));
    if (event === "drained") this.listeners.onIdle(turn);
  }

  /** When a moment of the context's clock comes out of the loudspeaker, on the page's clock. */
  #heardAt(timeS) {
    const { contextTime, performanceTime } = this.context.getOutputTimestamp();
    if (contextTime > 0 && performanceTime > 0) return performanceTime + (timeS - contextTime) * 1000;
    return performance.now() + (this.context.outputLatency || this.context.baseLatency || 0) * 1000;
  }
}

/** The samples of an event's sound. */
export function samplesOf({ data }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) bytes[index] = text.charCodeAt(index);
  const view = new DataView(bytes.buffer);
  const samples = new Float32Array(bytes.length >> 1);
  for (let index = 0; index < samples.length; index += 1) samples[index] = view.getInt16(2 * index, true) / 32768;
  return samples;
}
