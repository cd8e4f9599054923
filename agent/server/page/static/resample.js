// Another sample rate for a stream of sound: a windowed sinc, of which every piece goes on where the last one ended.

const ZERO_CROSSINGS = 16;
const PASSBAND = 0.92; // of the lower Nyquist frequency
const STEPS = 128; // of the kernel's table a sample; between them it is interpolated

export class Resampler {
  /**
   * @param {number} fromHz
   * @param {number} toHz
   */
  constructor(fromHz, toHz) {
    this.step = fromHz / toHz;
    const cutoff = fromHz === toHz ? 1 : PASSBAND * Math.min(1, toHz / fromHz);
    this.half = fromHz === toHz ? 0 : Math.ceil(ZERO_CROSSINGS / cutoff);
    this.table = kernel(cutoff, this.half);
    this.kept = new Float32Array(this.half); // silence before the first sample
    this.at = this.half; // where in `kept` the next sample is taken
  }

  /** The samples at the new rate, as far as they are known. */
  feed(input) {
    if (this.half === 0) return input.slice();
    const data = new Float32Array(this.kept.length + input.length);
    data.set(this.kept);
    data.set(input, this.kept.length);
    const most = data.length - this.half - 1;
    const out = new Float32Array(Math.max(0, Math.floor((most - this.at) / this.step) + 1));
    for (let index = 0; index < out.length; index += 1) out[index] = this.#sample(data, this.at + index * this.step);
    const next = this.at + out.length * this.step;
    const done = Math.max(0, Math.floor(next) - this.half);
    this.kept = data.slice(done);
    this.at = next - done;
    return out;
  }

  /** The rest, behind the last sample. */
  flush() {
    return this.half === 0 ? new Float32Array(0) : this.feed(new Float32Array(this.half + 1));
  }

  #sample(data, at) {
    const first = Math.ceil(at - this.half);
    const last = Math.floor(at + this.half);
    let sum = 0;
    for (let index = first; index <= last; index += 1) {
      const place = Math.abs(at - index) * STEPS;
      const low = Math.floor(place);
      const share = place - low;
      sum += data[index] * (this.table[low] * (1 - share) + this.table[low + 1] * share);
    }
    return sum;
  }
}

function kernel(cutoff, half) {
  const table = new Float32Array(half * STEPS + 2);
  for (let index = 0; index <= half * STEPS; index += 1) {
    const x = index / STEPS;
    const angle = Math.PI * cutoff * x;
    const sinc = x === 0 ? 1 : Math.sin(angle) / angle;
    const phase = (Math.PI * x) / Math.max(half, 1);
    table[index] = cutoff * sinc * (0.42 + 0.5 * Math.cos(phase) + 0.08 * Math.cos(2 * phase)); // Blackman
  }
  return table;
}
