// A conversation with an agent: its session, the WebSocket to it, and coming back when that breaks.

import { agentPath, ask, openSocket } from "./api.js";
import { stored } from "./dom.js";

const LONGEST_WAIT_MS = 15_000;
const QUEUE_ASKED_EVERY_MS = 700;
const MOST_UNSENT = 1500; // pieces of sound and commands: a minute
const FORGOTTEN_AFTER_MS = 5 * 60_000; // a session that the server ended for being idle is opened again when it is used

/**
 * States: `opening`, `waiting` (for a place), `open`, `broken` (tries again), `asleep` (until it is used),
 * `refused` (with an error in words).
 */
export class Conversation {
  /**
   * @param {string} agent
   * @param {object} listeners
   * @param {(event: object) => void} listeners.onEvent
   * @param {(state: string, detail?: object) => void} listeners.onState
   * @param {(items: object[], info: object) => void} listeners.onHistory  what was said before this page knew of it
   */
  constructor(agent, listeners) {
    this.agent = agent;
    this.listeners = listeners;
    this.id = stored.get(`session.${agent}`, "sessionStorage");
    this.socket = null;
    this.seq = null; // of the last event that came; null: none yet
    this.unsent = [];
    this.attempts = 0;
    this.usedAt = performance.now();
    this.state = "asleep";
    this.timer = 0;
    this.online = () => this.wake();
    this.offline = () => this.socket?.close();
    window.addEventListener("online", this.online);
    window.addEventListener("offline", this.offline);
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Connect, unless it is done already or under way. */
  wake() {
    this.usedAt = performance.now();
    if (["opening", "waiting", "open", "closed"].includes(this.state)) return;
    clearTimeout(this.timer);
    this.#open();
  }

  /** Send a command; where the connection is not there, once it is. */
  send(command) {
    this.usedAt = performance.now();
    if (this.isOpen) this.socket.send(JSON.stringify(command));
    else {
      this.unsent.push(command);
      this.wake();
    }
  }

  /** Send a command that means nothing later. */
  tell(command) {
    if (this.isOpen) this.socket.send(JSON.stringify(command));
  }

  /** Send sound: 16-bit PCM. While the connection is being made it is kept, where it should be. */
  hear(pcm, { keep }) {
    this.usedAt = performance.now();
    if (this.isOpen) this.socket.send(pcm);
    else if (keep && this.unsent.length < MOST_UNSENT) this.unsent.push(pcm);
  }

  /** Leave it; the server keeps it. */
  close() {
    this.#become("closed");
    clearTimeout(this.timer);
    window.removeEventListener("online", this.online);
    window.removeEventListener("offline", this.offline);
    this.socket?.close(1000);
  }

  /** Leave it and let the server forget it. */
  async forget() {
    const id = this.id;
    this.close();
    stored.set(`session.${this.agent}`, null, "sessionStorage");
    if (id) await ask("DELETE", agentPath(this.agent, "sessions", id));
  }

  async #open() {
    this.#become("opening");
    const waits = setInterval(() => this.#wait(), QUEUE_ASKED_EVERY_MS);
    try {
      const info = await this.#session();
      if (this.state === "closed") return;
      await this.#catchUp(info);
    } catch (error) {
      if (this.state !== "closed") this.#failed(error);
      return;
    } finally {
      clearInterval(waits);
    }
    if (this.state !== "closed") this.#connect();
  }

  /** Open the session, or go on with the one that this tab had. */
  async #session() {
    const path = agentPath(this.agent, "sessions");
    const known = this.id;
    this.id ??= newId(); // chosen here, so that its place in the queue can be asked for
    let info;
    try {
      info = await ask("POST", path, { id: this.id });
    } catch (error) {
      if (error.status !== 404 || known === null) throw error;
      this.id = newId(); // the old one is somebody else's by now
      info = await ask("POST", path, { id: this.id });
    }
    stored.set(`session.${this.agent}`, info.id, "sessionStorage");
    return info;
  }

  /** The server is slow to give us a place: where are we in its queue? */
  async #wait() {
    const place = await ask("GET", agentPath(this.agent, "queue", this.id)).catch(() => ({ position: 0 }));
    if (this.state === "opening" || this.state === "waiting") this.#become("waiting", place);
  }

  /** Where the server has no events that go on where ours ended, the conversation is read anew. */
  async #catchUp(info) {
    if (this.seq !== null && info.last_seq >= this.seq) return;
    const isNew = this.seq === null && info.turn === 0;
    const items = isNew ? [] : (await ask("GET", agentPath(this.agent, "sessions", info.id, "history"))).items;
    this.seq = info.last_seq;
    this.listeners.onHistory(items, info);
  }

  #connect() {
    const path = agentPath(this.agent, "sessions", this.id, "live");
    const socket = openSocket(path, { sample_rate_hz: 16_000, after: this.seq });
    this.socket = socket;
    socket.addEventListener("open", () => this.#opened());
    socket.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
    socket.addEventListener("close", ({ code, reason }) => this.#closed(socket, code, reason));
  }

  #opened() {
    this.attempts = 0;
    this.#become("open");
    const unsent = this.unsent;
    this.unsent = [];
    for (const one of unsent) this.socket.send(one instanceof ArrayBuffer ? one : JSON.stringify(one));
  }

  #take(event) {
    if (typeof event.seq === "number") {
      if (event.seq <= this.seq) return;
      this.seq = event.seq;
    }
    this.listeners.onEvent(event);
  }

  #closed(socket, code, reason) {
    if (socket !== this.socket || this.state === "closed") return;
    this.socket = null;
    const isIdle = performance.now() - this.usedAt > FORGOTTEN_AFTER_MS;
    if (code === 1001 && isIdle) this.#become("asleep");
    else if (code === 3000 || code === 3003) this.#become("refused", { status: 401, message: reason });
    else this.#later();
  }

  #failed(error) {
    const again = error.status === 0 || error.status === 429 || error.status >= 500;
    if (again) this.#later(error);
    else this.#become("refused", error);
  }

  #later(error = null) {
    const shortest = Math.max(500 * 2 ** this.attempts, (error?.retryAfterS ?? 0) * 1000);
    const waitMs = Math.min(shortest, Math.max(LONGEST_WAIT_MS, (error?.retryAfterS ?? 0) * 1000));
    this.attempts += 1;
    this.#become("broken", { message: error?.message ?? null, waitMs });
    this.timer = setTimeout(() => this.#open(), waitMs * (0.8 + 0.4 * Math.random()));
  }

  #become(state, detail = {}) {
    this.state = state;
    this.listeners.onState(state, detail);
  }
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
