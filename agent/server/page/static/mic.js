// The microphone: opened when it is first needed, closed when it is not.

const RATE_HZ = 16_000;
const FLUSH_MS = 300; // a context that was suspended never answers
const BYTES_A_MS = (RATE_HZ * 2) / 1000;

export class Microphone {
  /** @param {(pcm: ArrayBuffer) => void} onSound */
  constructor(onSound) {
    this.onSound = onSound;
    this.analyser = null;
    this.stream = null;
    this.node = null;
    this.opening = null;
    this.sending = false;
    this.sentMs = 0; // since the server began to listen
    this.sentAt = 0;
    this.flushed = () => {};
  }

  static rateHz = RATE_HZ;

  get isOpen() {
    return this.stream !== null;
  }

  /** Ask for the microphone. Fails with words for people. */
  async open(context) {
    if (this.isOpen) return;
    this.opening ??= this.#open(context).finally(() => (this.opening = null));
    await this.opening;
  }

  async #open(context) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("This browser gives the microphone only to pages that come over https or from this machine.");
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
      });
    } catch (error) {
      throw new Error(refusal(error));
    }
    try {
      await context.audioWorklet.addModule(new URL("mic-worklet.js", import.meta.url));
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      throw error;
    }
    this.source = context.createMediaStreamSource(stream);
    this.analyser = new AnalyserNode(context, { fftSize: 1024, smoothingTimeConstant: 0.5 });
    this.node = new AudioWorkletNode(context, "sayso-microphone", {
      numberOfOutputs: 0, processorOptions: { rateHz: RATE_HZ },
    });
    this.node.port.onmessage = ({ data }) => this.#take(data);
    this.source.connect(this.analyser);
    this.source.connect(this.node);
    for (const track of stream.getTracks()) track.addEventListener("ended", () => this.onLost?.());
    this.stream = stream;
  }

  /** Begin to hand sound on. */
  start() {
    this.sending = true;
  }

  /** What was said up to now is handed on, then no more. */
  async stop() {
    if (!this.sending) return;
    if (this.node) {
      const done = new Promise((resolve) => (this.flushed = resolve));
      this.node.port.postMessage("flush");
      await Promise.race([done, new Promise((resolve) => setTimeout(resolve, FLUSH_MS))]);
    }
    this.sending = false;
  }

  /** Let go of the microphone. */
  close() {
    this.sending = false;
    this.flushed();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.source?.disconnect();
    if (this.node) this.node.port.onmessage = null;
    this.stream = this.source = this.node = this.analyser = null;
  }

  /** A new connection counts from 0. */
  restart() {
    this.sentMs = 0;
  }

  /** When, on the page's clock, that moment of the sound was at which the server says that something happened. */
  timeOf(streamMs) {
    return this.sentAt - (this.sentMs - streamMs);
  }

  #take({ pcm, flushed }) {
    if (flushed) {
      this.flushed();
    } else if (this.sending) {
      this.sentMs += pcm.byteLength / BYTES_A_MS;
      this.sentAt = performance.now();
      this.onSound(pcm);
    }
  }
}

function refusal(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The microphone is blocked. Allow it for this page in the browser's address bar, or write instead.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "There is no microphone. Plug one in, or write instead.";
    case "NotReadableError":
    case "AbortError":
      return "The microphone cannot be opened; another program may be using it.";
    default:
      return `The microphone cannot be opened: ${error.message}`;
  }
}
