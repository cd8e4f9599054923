// What the programs share that drive a Node client: its arguments, speech in real time, checks, the report; see cases.py.

import { readFileSync } from "node:fs";

export const URL_ = process.argv[2].replace(/\/$/, "");
export const KEY = process.argv[3];
export const SOUNDS = process.argv[4];
export const RATE_HZ = 24000;
const FRAME_MS = 20;
const LONGEST_MS = 75000;

export const INSTRUCTIONS = "You are a friendly voice assistant. Use a tool where one fits.";
export const STORY = "Please tell me a long story about a fox and a hen, of ten sentences.";
export const TOOL = {
  name: "time_in_city",
  description: "Tells the time of day in a city. Use it whenever the user asks what time it is somewhere.",
  parameters: {
    type: "object",
    properties: { city: { type: "string", description: "Name of the city." } },
    required: ["city"],
    additionalProperties: false,
  },
};
export const TOOL_SAYS = "It is 9:41 in the morning.";

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function check(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

export function sound(name) {
  return readFileSync(`${SOUNDS}/${name}.pcm`);
}

/** Sends a question, then silence, as fast as a microphone does. */
export async function speak(send, name, afterMs = 1200) {
  const data = Buffer.concat([sound(name), Buffer.alloc((2 * RATE_HZ * afterMs) / 1000)]);
  const size = (2 * RATE_HZ * FRAME_MS) / 1000;
  const start = Date.now();
  for (let at = 0; at < data.length; at += size) {
    await sleep(Math.max(0, start + (at / size) * FRAME_MS - Date.now()));
    send(data.subarray(at, at + size));
  }
}

/** Waits until something holds; `failed` may throw. */
export async function until(holds, failed = () => {}) {
  while (!holds()) {
    failed();
    await sleep(20);
  }
}

export async function history() {
  const sessions = await (await fetch(`${URL_}/conformance/history`)).json();
  check(sessions.length === 1, `${sessions.length} sessions are open, not one`);
  return sessions[0];
}

/** The first reply of the session was cut to what was heard of it, which is at most so long. */
export async function checkCut(heardMs) {
  let found;
  for (let tries = 0; tries < 40; tries++) {
    found = (await history()).filter((item) => item.type === "assistant");
    if (found[0]?.interrupted && found[0].text.length <= 0.025 * heardMs + 20) return `history: '${found[0].text}'`;
    await sleep(100);
  }
  throw new Error(`history after ${heardMs} ms of sound: ${JSON.stringify(found)}`);
}

export const checkTokyo = (given) => check(/tokyo/i.test(JSON.stringify(given)), `the tool was given ${given}`);
export const checkTime = (words) => check(/9|nine/i.test(words), `the tool's result is not in '${words}'`);
export const checkSum = (words) => check(/45|forty/i.test(words), `the result is not in '${words}'`);

/** Runs the cases and prints what came of them. */
export async function run(cases) {
  const wanted = process.argv.slice(5);
  const found = {};
  for (const [name, test] of Object.entries(cases)) {
    if (wanted.length && !wanted.includes(name)) continue;
    const start = Date.now();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`nothing after ${LONGEST_MS / 1000} s`)), LONGEST_MS);
    });
    try {
      found[name] = { passed: true, note: await Promise.race([test(), late]) };
    } catch (error) {
      console.error(error);
      found[name] = { passed: false, note: `${error?.name}: ${error?.message}`.slice(0, 300) };
    }
    clearTimeout(timer);
    found[name].seconds = (Date.now() - start) / 1000;
  }
  console.log(JSON.stringify(found));
  process.exit(0);
}
