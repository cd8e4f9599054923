// Requests to the server that this page came from.

import { stored } from "./dom.js";

const BASE = new URL(".", location.href);
const KEY_PROTOCOL = "openai-insecure-api-key.";

/** What the server refused, in its words. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = null, retryAfterS = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }

  get asksForKey() {
    return this.status === 401;
  }
}

export const key = {
  get: () => stored.get("key", "sessionStorage"),
  set: (value) => stored.set("key", value || null, "sessionStorage"),
};

/** Send a request; the body of the answer as JSON, or the answer itself with `raw`. */
export async function ask(method, path, body, { raw = false, signal } = {}) {
  const headers = {};
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(new URL(path, BASE), {
      method, headers, signal, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached.");
  }
  if (!answer.ok) throw await refused(answer);
  return raw || answer.status === 204 ? answer : answer.json();
}

async function refused(answer) {
  let told = {};
  try {
    told = (await answer.json()).error ?? {};
  } catch {
    // no JSON: some proxy answered
  }
  const after = Number(answer.headers.get("retry-after"));
  return new ApiError(told.message ?? `The server answered ${answer.status}.`, {
    status: answer.status, code: told.code ?? null, retryAfterS: Number.isFinite(after) && after > 0 ? after : null,
  });
}

/** The path of an agent, or of something of its. */
export const agentPath = (agent, ...rest) =>
  ["v1/agents", encodeURIComponent(agent), ...rest.map(encodeURIComponent)].join("/");

/** A WebSocket to the server. Browsers cannot set headers there: the key goes in as a subprotocol. */
export function openSocket(path, query) {
  const url = new URL(path, BASE);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const socket = new WebSocket(url, key.get() ? ["realtime", KEY_PROTOCOL + key.get()] : []);
  socket.binaryType = "arraybuffer";
  return socket;
}
