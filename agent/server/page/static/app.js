// The page: who is talked to, and what the buttons do.

import { ask, key } from "./api.js";
import { byId, el, stored } from "./dom.js";
import { Events } from "./events.js";
import { Microphone } from "./mic.js";
import { Player } from "./player.js";
import { askForKey, closable, themeSwitch, Voices } from "./settings.js";
import { Conversation } from "./socket.js";
import { TalkButton } from "./talk.js";
import { Transcript } from "./transcript.js";
import { Wave } from "./wave.js";

const TAIL_MS = 120; // people let go a little before their last word is over
const SHORTEST_MS = 250; // of speech: less is a slip
const MIC_KEPT_MS = 30_000; // open after it was last used

const root = document.documentElement;
const page = {
  agents: [], agent: null, line: null, connection: "opening", detail: {},
  isHandsFree: false, isMuted: false, isRecording: false, micTimer: 0,
};

const transcript = new Transcript(byId("turns"), byId("announcer"));
const mic = new Microphone((pcm) => page.line?.hear(pcm, { keep: !page.isHandsFree }));
const player = new Player({
  onPlayed: (turn, ms) => events.played(turn, ms),
  onBegan: (turn, atMs) => events.began(turn, atMs),
  onIdle: (turn) => events.silent(turn),
});
const events = new Events({
  transcript, player, mic,
  tell: (command) => page.line?.tell(command),
  actions: { approve, refuse, cancel: (id) => page.line.send({ type: "cancel", call_id: id }) },
  onChange: show,
  onError: complain,
});
const wave = new Wave(byId("wave"), byId("level"), sounding);
const voices = new Voices(player, (voice) => page.line.send({ type: "voice", voice }));
const button = new TalkButton(byId("talk"), {
  holds: () => !page.isHandsFree, onPress: () => guarded(press), onRelease: () => guarded(release),
  onToggle: () => guarded(mute),
});
mic.onLost = () => {
  mic.close();
  complain("The microphone was taken away.");
  if (page.isHandsFree) guarded(handsFree);
  else cancelRecording();
};

// ---- connection ------------------------------------------------------------------------------------------------

async function start() {
  try {
    page.agents = (await ask("GET", "v1/agents")).agents;
  } catch (error) {
    await refused(error, start);
    return;
  }
  if (page.agents.length === 0) {
    complain("There is no agent for this key.");
    return;
  }
  const names = page.agents.map(({ name }) => name);
  const select = byId("agent");
  select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  select.value = names.includes(stored.get("agent")) ? stored.get("agent") : names[0];
  select.disabled = names.length === 1;
  select.parentElement.hidden = names.length === 1 && names[0] === "sayso"; // it is said already
  choose(select.value);
}

/** Talk to an agent. */
function choose(name) {
  page.line?.close();
  quiet();
  page.agent = page.agents.find((agent) => agent.name === name);
  stored.set("agent", name);
  describe(page.agent);
  transcript.clear();
  events.begin(page.agent);
  page.line = new Conversation(name, { onEvent: (event) => events.take(event), onState: connection, onHistory: restore });
  page.line.wake();
}

function describe(agent) {
  const how = matchMedia("(hover: none)").matches ? "the button" : "the button or the space bar";
  byId("empty-hint").textContent = agent.hears ? `Hold ${how} and talk, or write.` : "Write what you want to know.";
  for (const id of ["talk", "hands-free"]) byId(id).hidden = !agent.hears;
  const tools = byId("tools");
  tools.hidden = agent.tools.length === 0;
  tools.open = false;
  const count = agent.tools.length === 1 ? "one tool" : `${agent.tools.length} tools`;
  tools.querySelector("summary").textContent = `${agent.name} has ${count}`;
  tools.querySelector("ul").replaceChildren(
    ...agent.tools.map((tool) => el("li", {}, el("b", {}, tool.name), ` ${tool.description.split("\n")[0]}`)),
  );
  voices.show(agent, null);
}

function restore(items, info) {
  player.stop();
  events.begin(page.agent);
  events.newest = info.turn;
  events.isBusy = info.busy;
  transcript.restore(items, events.tools, events.actions);
  if (info.voice) voices.show(page.agent, info.voice);
  if (info.approval) transcript.cards.get(info.approval.call_id)?.wait(info.approval.question);
  show();
}

function connection(state, detail = {}) {
  if (state === "open") {
    mic.restart();
    page.line.send({ type: "hands_free", on: page.isHandsFree });
  }
  if (state === "broken" && page.connection !== "broken") transcript.announce("The connection broke. Trying again.");
  if (state === "broken" && detail.message) complain(detail.message);
  if (state === "open" && page.connection === "broken") complain(null);
  page.connection = state;
  page.detail = detail;
  if (state === "refused") refused(detail, () => page.line.wake());
  show();
}

/** The server said no: ask for a key where one is missing, or say why. */
async function refused(error, again) {
  if (error.status !== 401) {
    complain(error.message);
    if (again === start && error.status === 0) setTimeout(start, 3000);
    return;
  }
  const given = await askForKey(key.get() ? error.message : "Whoever runs it can make one for you.");
  if (given === null) {
    complain("Without a key this server does not answer. Reload the page to give one.");
    return;
  }
  key.set(given);
  complain(null);
  again();
}

// ---- talking ---------------------------------------------------------------------------------------------------

/** Whatever goes wrong in it is told in words. */
async function guarded(work) {
  try {
    await work();
  } catch (error) {
    button.reset();
    page.isRecording = false;
    complain(error.message);
  }
  show();
}

async function press() {
  complain(null);
  clearTimeout(page.micTimer);
  interrupt();
  await mic.open(await player.open());
  if (!button.isDown) return; // the browser asked about the microphone meanwhile
  page.line.send({ type: "clear" });
  page.recordedFromMs = mic.sentMs;
  page.isRecording = true;
  mic.start();
  show();
}

async function release() {
  const at = performance.now();
  if (!page.isRecording) return;
  await new Promise((resolve) => setTimeout(resolve, TAIL_MS));
  if (!page.isRecording) return; // cancelled
  await mic.stop();
  page.isRecording = false;
  restMicrophone();
  if (mic.sentMs - page.recordedFromMs < SHORTEST_MS + TAIL_MS) {
    page.line.send({ type: "clear" });
    complain("That was too short. Hold the button while you talk.");
    return;
  }
  events.ask(at);
  page.line.send({ type: "commit" });
}

function cancelRecording() {
  button.reset();
  if (!page.isRecording) return;
  page.isRecording = false;
  mic.stop();
  restMicrophone();
  page.line.send({ type: "clear" });
}

function restMicrophone() {
  clearTimeout(page.micTimer);
  page.micTimer = setTimeout(() => !page.isRecording && !page.isHandsFree && mic.close(), MIC_KEPT_MS);
}

/** Switch between hands-free and the button. */
async function handsFree() {
  cancelRecording();
  if (page.isHandsFree) {
    page.isHandsFree = page.isMuted = false;
    mic.close();
  } else {
    await mic.open(await player.open());
    clearTimeout(page.micTimer);
    page.isHandsFree = true;
    mic.start();
  }
  page.line.send({ type: "hands_free", on: page.isHandsFree });
  transcript.announce(page.isHandsFree ? "Hands-free: just talk." : "Hands-free is off.");
}

/** Hands-free, and somebody else talks in the room. */
async function mute() {
  page.isMuted = !page.isMuted;
  if (page.isMuted) {
    await mic.stop();
    page.line.send({ type: "clear" });
  } else mic.start();
}

function say(text) {
  complain(null);
  player.open().catch((error) => complain(error.message));
  events.hush();
  events.ask();
  page.line.send({ type: "say", text });
}

/** Stop what is said and done. */
function interrupt() {
  if (!events.isBusy && !player.isPlaying) return;
  page.line.send({ type: "interrupt", played_ms: events.hush() });
}

function stop() {
  if (page.isRecording) cancelRecording();
  else interrupt();
  show();
}

/** Be quiet without telling the server. */
function quiet() {
  player.stop();
  cancelRecording();
  if (page.isHandsFree) guarded(handsFree);
}

function approve(id) {
  player.open().catch((error) => complain(error.message));
  events.afterTurn(() => {
    events.hush({ marks: false }); // the question was read
    events.ask();
    page.line.send({ type: "approve", call_id: id });
  });
}

function refuse(id) {
  events.afterTurn(() => {
    events.hush({ marks: false });
    page.line.send({ type: "refuse", call_id: id });
  });
}

// ---- what is shown ---------------------------------------------------------------------------------------------

function phase() {
  if (page.connection !== "open") return page.connection;
  if (page.isRecording) return "recording";
  if (player.isPlaying) return "speaking";
  if (events.isBusy) return events.runs.size > 0 ? "working" : "thinking";
  if (page.isHandsFree) return page.isMuted ? "muted" : "listening";
  return "ready";
}

function words(now) {
  switch (now) {
    case "opening": return "Connecting…";
    case "waiting": {
      const { position } = page.detail;
      return position ? `Waiting for a free place: number ${position} in the queue` : "Waiting for a free place…";
    }
    case "broken": return "The connection broke. Trying again…";
    case "asleep": return "Resting. It wakes when you talk or write.";
    case "refused": return "Not connected";
    case "recording": return button.held ? "Listening. Let go to send." : "Listening. Tap again to send.";
    case "speaking": return page.isHandsFree ? "Speaking. Talk to interrupt." : "Speaking";
    case "working": return "Working…";
    case "thinking": return "Thinking…";
    case "listening": return "Listening";
    case "muted": return "Your microphone is off";
    default: return "Ready";
  }
}

function show() {
  const now = phase();
  root.dataset.phase = now;
  byId("state").textContent = words(now);
  byId("empty").hidden = transcript.list.childElementCount > 0;
  byId("stop").disabled = !(events.isBusy || player.isPlaying || page.isRecording);
  byId("hands-free").setAttribute("aria-checked", String(page.isHandsFree));
  const isOn = page.isHandsFree ? !page.isMuted : page.isRecording;
  byId("talk").setAttribute("aria-pressed", String(isOn));
  byId("talk").setAttribute("aria-label", page.isHandsFree ? "Microphone" : "Hold to talk");
  if (sounding().kind) wave.wake();
}

function sounding() {
  if (player.isPlaying) return { analyser: player.analyser, kind: "agent" };
  const isOn = page.isRecording || (page.isHandsFree && !page.isMuted);
  return isOn && mic.isOpen ? { analyser: mic.analyser, kind: "you" } : { analyser: null, kind: null };
}

/** Say what is wrong; null takes it back. */
function complain(message) {
  byId("notice").hidden = message === null;
  byId("notice").querySelector("p").textContent = message ?? "";
}

// ---- buttons and keys ------------------------------------------------------------------------------------------

function fit() {
  const field = byId("text");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
  byId("send").disabled = field.value.trim() === "";
}

function listen() {
  const field = byId("text");
  field.addEventListener("input", fit);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("write").requestSubmit();
  });
  byId("write").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (!text || !page.line) return;
    say(text);
    field.value = "";
    fit();
  });
  byId("stop").addEventListener("click", stop);
  byId("hands-free").addEventListener("click", () => guarded(handsFree));
  byId("notice-close").addEventListener("click", () => complain(null));
  byId("agent").addEventListener("change", (event) => choose(event.target.value));
  byId("new").addEventListener("click", () => {
    page.line?.forget().catch(() => {});
    if (page.agent) choose(page.agent.name);
    field.focus();
  });
  byId("settings-open").addEventListener("click", () => byId("settings").showModal());
  for (const id of ["settings", "key"]) closable(byId(id));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
  });
  window.addEventListener("themechange", () => wave.draw());
}

themeSwitch();
listen();
show();
start();
