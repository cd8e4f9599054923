// OpenAI's agents for Node: a realtime session over a WebSocket, with a function tool.

import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";
import { tool } from "@openai/agents-core";
import { z } from "zod";
import {
  INSTRUCTIONS, KEY, RATE_HZ, STORY, TOOL, TOOL_SAYS, URL_,
  check, checkCut, checkSum, checkTime, checkTokyo, history, run, sleep, speak, until,
} from "./cases.mjs";

const asked = [];
const time = tool({
  name: TOOL.name,
  description: TOOL.description,
  parameters: z.object({ city: z.string().describe("Name of the city.") }),
  execute: async (given) => {
    asked.push(given);
    return TOOL_SAYS;
  },
});

/** Opens a session, runs `talk` and closes it. */
async function session(talk, tools = []) {
  const url = `${URL_.replace(/^http/, "ws")}/v1/realtime?model=gpt-realtime`;
  const agent = new RealtimeAgent({ name: "assistant", instructions: INSTRUCTIONS, tools });
  const session = new RealtimeSession(agent, {
    transport: new OpenAIRealtimeWebSocket({ url }),
    model: "gpt-realtime",
    tracingDisabled: true,
    config: {
      audio: {
        input: {
          transcription: { model: "whisper-1" },
          turnDetection: { type: "server_vad", interruptResponse: true, createResponse: true },
        },
      },
    },
  });
  const seen = { bytes: 0, ends: 0, interrupted: false, errors: [], firstSound: 0 };
  session.on("audio", (event) => {
    seen.firstSound ||= Date.now();
    seen.bytes += event.data.byteLength;
  });
  session.on("agent_end", () => (seen.ends += 1));
  session.on("audio_interrupted", () => (seen.interrupted = true));
  session.on("error", (event) => seen.errors.push(JSON.stringify(event.error)));
  try {
    await session.connect({ apiKey: KEY });
    return await talk(session, seen);
  } finally {
    session.close();
  }
}

const say = (session, name) => speak((frame) => session.sendAudio(new Uint8Array(frame).buffer), name);
const noError = (seen) => () => check(!seen.errors.length, seen.errors[0]);

/** The words of the last message of a role, by the client's own history. */
function said(session, role) {
  const found = session.history.filter((item) => item.type === "message" && item.role === role);
  return (found.at(-1)?.content ?? []).map((part) => part.transcript ?? part.text ?? "").join(" ");
}

async function answer(session, seen, name) {
  await say(session, name);
  await until(() => seen.bytes > RATE_HZ && said(session, "assistant") && said(session, "user"), noError(seen));
  await until(() => seen.ends && session.history.at(-1).status === "completed", noError(seen));
  return said(session, "assistant");
}

const spoken_turn = () =>
  session(async (session, seen) => {
    const words = await answer(session, seen, "timer");
    check(/rice/.test(said(session, "user")), `'${said(session, "user")}' was heard`);
    return words;
  });

const server_tool = () =>
  session(async (session, seen) => {
    const words = await answer(session, seen, "calculate");
    checkSum(words);
    await sleep(1500);
    const answers = (await history()).filter((item) => item.type === "assistant");
    check(answers.length <= 2, `the agent answered more than once: ${JSON.stringify(answers)}`);
    return `${words} (${answers.length} in history)`;
  });

const client_tool = () =>
  session(
    async (session, seen) => {
      await say(session, "what_time");
      await until(() => asked.length && seen.ends && said(session, "assistant"), noError(seen));
      await until(() => /9|nine/i.test(said(session, "assistant")), noError(seen));
      checkTokyo(asked[0]);
      checkTime(said(session, "assistant"));
      return said(session, "assistant");
    },
    [time],
  );

const interruption = () =>
  session(async (session, seen) => {
    session.sendMessage(STORY);
    await until(() => seen.bytes, noError(seen));
    const saying = say(session, "timer");
    await until(() => seen.interrupted, noError(seen));
    const note = await checkCut(Date.now() - seen.firstSound);
    await saying;
    await until(() => /rice/.test(said(session, "user")) && seen.ends, noError(seen));
    const first = session.history.find((item) => item.role === "assistant");
    return `${note}; the client's: '${first.content[0].transcript ?? ""}'`;
  });

const bad_event = () =>
  session(async (session, seen) => {
    session.transport.sendEvent({ type: "session.dance", event_id: "bad_1" });
    await until(() => seen.errors.length);
    const [error] = seen.errors.splice(0);
    check(/session\.dance/.test(error), error);
    session.sendMessage("What is eighteen percent of 250?");
    await until(() => seen.ends && seen.bytes > RATE_HZ, noError(seen));
    return "Invalid value for 'type'";
  });

await run({ spoken_turn, server_tool, client_tool, interruption, bad_event });
