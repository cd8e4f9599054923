// Plays samples one after the other, and counts those that were played: the play-out clock.

const TELL_EVERY_S = 0.05;
const FADE_S = 0.008; // a stop that is not a click
const NOTHING = new Float32Array(0);

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = []; // of {turn, samples}
    this.at = 0; // in the first of them
    this.turn = null;
    this.frames = 0; // of that turn
    this.tellAt = 0;
    this.fading = 0; // frames of the fade that are left; 0: no stop
    this.port.onmessage = ({ data }) => (data.stop ? this.stop() : this.queue.push(data));
  }

  stop() {
    if (this.queue.length === 0) return;
    if (this.queue[0].turn === this.turn) this.fading = Math.round(FADE_S * sampleRate);
    else this.queue = []; // nothing of it was played
  }

  process(_, [[out, ...others]]) {
    let index = 0;
    while (index < out.length && this.queue.length > 0) {
      const { turn, samples } = this.queue[0];
      if (turn !== this.turn) this.begin(turn, index);
      index = this.copy(samples, out, index);
      if (this.at === samples.length) {
        this.queue.shift();
        this.at = 0;
      }
      if (this.queue.length === 0) this.tell("drained");
    }
    for (const other of others) other.set(out);
    if (this.queue.length > 0 && currentTime >= this.tellAt) this.tell("playing");
    return true;
  }

  begin(turn, index) {
    this.turn = turn;
    this.frames = this.fading = 0;
    this.port.postMessage({ event: "began", turn, timeS: currentTime + index / sampleRate });
  }

  /** Copy what fits; the index behind it. */
  copy(samples, out, index) {
    let count = Math.min(samples.length - this.at, out.length - index);
    if (this.fading > 0) count = Math.min(count, this.fading);
    for (let step = 0; step < count; step += 1) {
      const gain = this.fading > 0 ? (this.fading - step) / (FADE_S * sampleRate) : 1;
      out[index + step] = samples[this.at + step] * gain;
    }
    this.at += count;
    this.frames += count;
    if (this.fading > 0 && (this.fading -= count) === 0) this.drop();
    return index + count;
  }

  /** The stop is over: what is queued of this turn is not played. */
  drop() {
    this.queue = [{ turn: this.turn, samples: NOTHING }, ...this.queue.filter(({ turn }) => turn !== this.turn)];
    this.at = 0;
  }

  tell(event) {
    this.tellAt = currentTime + TELL_EVERY_S;
    this.port.postMessage({ event, turn: this.turn, frames: this.frames });
  }
}

registerProcessor("sayso-player", Player);
