// The microphone's samples as 16-bit PCM at the rate that the server wants.

import { Resampler } from "./resample.js";

const PIECE_S = 0.04;

class Microphone extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.resampler = new Resampler(sampleRate, processorOptions.rateHz);
    this.piece = new Int16Array(Math.round(processorOptions.rateHz * PIECE_S));
    this.filled = 0;
    this.port.onmessage = () => this.flush();
  }

  process([input]) {
    if (input.length > 0) this.take(this.resampler.feed(mono(input)));
    return true;
  }

  take(samples) {
    for (const sample of samples) {
      this.piece[this.filled] = Math.max(-1, Math.min(1, sample)) * 32767;
      this.filled += 1;
      if (this.filled === this.piece.length) this.send();
    }
  }

  send() {
    const pcm = this.piece.slice(0, this.filled).buffer;
    this.filled = 0;
    this.port.postMessage({ pcm }, [pcm]);
  }

  /** What is left goes out, and the page is told that this was all. */
  flush() {
    if (this.filled > 0) this.send();
    this.port.postMessage({ flushed: true });
  }
}

function mono(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((sample, index) => (sample + channels[1][index]) / 2);
}

registerProcessor("sayso-microphone", Microphone);
