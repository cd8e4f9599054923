// The live waveform: your voice, or the agent's. With reduced motion it stands still and shows the level alone.

const BAR_PX = 3;
const GAP_PX = 3;
const EVERY_MS = 50;
const QUIETEST_DB = -55;

export class Wave {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} meter   role="meter": the microphone's level in percent
   * @param {() => {analyser: AnalyserNode | null, kind: "you" | "agent" | null}} source  what sounds now
   */
  constructor(canvas, meter, source) {
    this.canvas = canvas;
    this.meter = meter;
    this.source = source;
    this.bars = []; // {level, kind}, the newest last
    this.lastAt = 0;
    this.frame = 0;
    this.samples = new Float32Array(1024);
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Go on drawing as long as something sounds, and until it has run out. */
  wake() {
    if (!this.frame) this.frame = requestAnimationFrame((now) => this.step(now));
  }

  step(now) {
    this.frame = 0;
    const { analyser, kind } = this.source();
    if (now - this.lastAt >= EVERY_MS) {
      this.lastAt = now;
      this.push(analyser && kind ? this.level(analyser) : 0, kind);
      this.draw();
    }
    if (kind || this.bars.some(({ level }) => level > 0)) this.wake();
  }

  /** Loudness from 0 to 1. */
  level(analyser) {
    analyser.getFloatTimeDomainData(this.samples);
    let sum = 0;
    for (const sample of this.samples) sum += sample * sample;
    const db = 10 * Math.log10(sum / this.samples.length + 1e-12);
    return Math.min(1, Math.max(0, 1 - db / QUIETEST_DB));
  }

  push(level, kind) {
    this.bars.push({ level, kind });
    while (this.bars.length > this.count()) this.bars.shift();
    const percent = kind === "you" ? Math.round(level * 100) : 0;
    this.meter.setAttribute("aria-valuenow", String(percent));
    const root = document.documentElement.dataset;
    if (kind === "you") root.micPeak = String(Math.max(Number(root.micPeak ?? 0), percent));
    if (kind === "agent") root.outputPeak = String(Math.max(Number(root.outputPeak ?? 0), Math.round(level * 100)));
  }

  count() {
    return Math.max(1, Math.floor(this.canvas.clientWidth / (BAR_PX + GAP_PX)));
  }

  draw() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const colours = { you: style.color, agent: style.accentColor, rest: style.borderTopColor };
    const bars = this.still.matches ? this.levels() : this.bars;
    const count = this.count();
    for (let index = 0; index < count; index += 1) {
      const { level, kind } = bars[index - (count - bars.length)] ?? { level: 0, kind: null };
      const tall = Math.max(BAR_PX, level ** 1.6 * height);
      context.fillStyle = (level > 0.04 && colours[kind]) || colours.rest;
      context.beginPath();
      context.roundRect(index * (BAR_PX + GAP_PX), (height - tall) / 2, BAR_PX, tall, BAR_PX / 2);
      context.fill();
    }
  }

  /** Nothing moves sideways: as many bars are lit as it is loud. */
  levels() {
    const { level, kind } = this.bars.at(-1) ?? { level: 0, kind: null };
    const count = this.count();
    return Array.from({ length: count }, (_, index) => ({ level: index < level * count ? 0.5 : 0, kind }));
  }
}
