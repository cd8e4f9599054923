// OpenAI's client for Node: Realtime, chat completions and audio. Its Realtime client connects over TLS only.

import OpenAI, { toFile } from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import {
  INSTRUCTIONS, KEY, RATE_HZ, STORY, TOOL, TOOL_SAYS, URL_,
  check, checkCut, checkSum, checkTime, checkTokyo, run, sound, speak, until,
} from "./cases.mjs";

const client = new OpenAI({ apiKey: KEY, baseURL: `${URL_}/v1` });

/** Opens a session, runs `talk(connection, events)` and closes it. */
async function session(talk, tools = []) {
  const connection = new OpenAIRealtimeWS({ model: "gpt-realtime" }, client);
  const events = [];
  connection.on("event", (event) => events.push(event));
  connection.on("error", () => {}); // looked at as an event
  try {
    await until(() => events.some((event) => event.type === "session.created"));
    connection.send({
      type: "session.update",
      session: {
        type: "realtime",
        instructions: INSTRUCTIONS,
        audio: { input: { transcription: { model: "whisper-1" }, turn_detection: { type: "server_vad" } } },
        tools,
      },
    });
    await until(() => events.some((event) => event.type === "session.updated"), () => noError(events));
    return await talk(connection, events);
  } finally {
    connection.close();
  }
}

function noError(events) {
  const error = events.find((event) => event.type === "error");
  check(!error, JSON.stringify(error));
}

const say = (connection, name) =>
  speak((frame) => connection.send({ type: "input_audio_buffer.append", audio: frame.toString("base64") }), name);

/** The events up to the next finished response, which leave `events`. */
async function turn(events) {
  await until(() => events.some((event) => event.type === "response.done"), () => noError(events));
  return events.splice(0, events.findIndex((event) => event.type === "response.done") + 1);
}

const of = (events, type) => events.filter((event) => event.type === type);
const words = (events) => of(events, "response.output_audio_transcript.delta").map((event) => event.delta).join("");

function checkSpoken(events) {
  const bytes = of(events, "response.output_audio.delta")
    .map((event) => Buffer.from(event.delta, "base64").length)
    .reduce((sum, one) => sum + one, 0);
  check(events.at(-1).response.status === "completed", `the response is ${events.at(-1).response.status}`);
  check(bytes > RATE_HZ, `${bytes} bytes of sound came`);
  check(words(events), "no transcript came");
}

const spoken_turn = () =>
  session(async (connection, events) => {
    await say(connection, "timer");
    const came = await turn(events);
    checkSpoken(came);
    const [heard] = of(came, "conversation.item.input_audio_transcription.completed");
    check(/rice/.test(heard?.transcript), `'${heard?.transcript}' was heard`);
    return words(came);
  });

const server_tool = () =>
  session(async (connection, events) => {
    await say(connection, "calculate");
    const came = await turn(events);
    checkSpoken(came);
    checkSum(words(came));
    return words(came);
  });

const client_tool = () =>
  session(
    async (connection, events) => {
      await say(connection, "what_time");
      const calls = (await turn(events)).at(-1).response.output.filter((item) => item.type === "function_call");
      check(calls.length === 1, `${calls.length} calls came`);
      checkTokyo(calls[0].arguments);
      const item = { type: "function_call_output", call_id: calls[0].call_id, output: TOOL_SAYS };
      connection.send({ type: "conversation.item.create", item });
      connection.send({ type: "response.create" });
      const came = await turn(events);
      checkSpoken(came);
      checkTime(words(came));
      return words(came);
    },
    [{ type: "function", ...TOOL }],
  );

const interruption = () =>
  session(async (connection, events) => {
    const content = [{ type: "input_text", text: STORY }];
    connection.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    connection.send({ type: "response.create" });
    await until(() => of(events, "response.output_audio.delta").length, () => noError(events));
    const { item_id } = of(events, "response.output_audio.delta")[0];
    const saying = say(connection, "timer");
    await until(() => of(events, "input_audio_buffer.speech_started").length, () => noError(events));
    connection.send({ type: "conversation.item.truncate", item_id, content_index: 0, audio_end_ms: 900 });
    await until(() => of(events, "conversation.item.truncated").length, () => noError(events));
    const note = await checkCut(900);
    const cut = (await turn(events)).at(-1).response;
    if (cut.status === "cancelled") {
      check(cut.status_details.reason === "turn_detected", "it was not the user who interrupted");
    }
    await saying;
    checkSpoken(await turn(events));
    return note;
  });

const bad_event = () =>
  session(async (connection, events) => {
    connection.send({ type: "session.dance", event_id: "bad_1" });
    await until(() => of(events, "error").length);
    const { error } = of(events, "error")[0];
    check(error.event_id === "bad_1" && error.param === "type", JSON.stringify(error));
    events.length = 0;
    connection.send({ type: "response.create", response: { instructions: "Say hello." } });
    checkSpoken(await turn(events));
    return error.message.slice(0, 60);
  });

async function chat() {
  const answer = await client.chat.completions.create({
    model: "gpt-4o",
    messages: [{ role: "user", content: "What is eighteen percent of 250?" }],
  });
  check(answer.choices[0].finish_reason === "stop" && answer.usage.total_tokens, JSON.stringify(answer));
  checkSum(answer.choices[0].message.content);
  return answer.choices[0].message.content;
}

async function chat_stream() {
  const stream = await client.chat.completions.create({
    model: "gpt-4o",
    messages: [{ role: "user", content: STORY }],
    stream: true,
    max_completion_tokens: 60,
    stream_options: { include_usage: true },
  });
  let pieces = 0, usage = null;
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    pieces += chunk.choices[0]?.delta.content ? 1 : 0;
  }
  check(pieces > 3 && usage, `${pieces} pieces, usage ${usage}`);
  return `${pieces} pieces`;
}

async function chat_tool() {
  const asked = [];
  const runner = client.chat.completions.runTools({
    model: "gpt-4o",
    stream: true,
    messages: [{ role: "user", content: "What time is it in Tokyo right now?" }],
    tools: [
      {
        type: "function",
        function: {
          ...TOOL,
          parse: JSON.parse,
          function: (given) => {
            asked.push(given);
            return TOOL_SAYS;
          },
        },
      },
    ],
  });
  const words = await runner.finalContent();
  check(asked.length === 1, `the tool ran ${asked.length} times: '${words}'`);
  checkTokyo(asked[0]);
  checkTime(words);
  return words;
}

function wav(name) {
  const data = sound(name), header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(RATE_HZ, 24);
  header.writeUInt32LE(2 * RATE_HZ, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}

async function chat_audio() {
  const input_audio = { data: wav("calculate").toString("base64"), format: "wav" };
  const stream = await client.chat.completions.create({
    model: "gpt-audio",
    modalities: ["text", "audio"],
    audio: { voice: "alloy", format: "pcm16" },
    messages: [{ role: "user", content: [{ type: "input_audio", input_audio }] }],
    stream: true,
  });
  let bytes = 0, words = "";
  for await (const chunk of stream) {
    const audio = chunk.choices[0]?.delta.audio;
    bytes += audio?.data ? Buffer.from(audio.data, "base64").length : 0;
    words += audio?.transcript ?? "";
  }
  check(bytes > RATE_HZ, `${bytes} bytes of sound came`);
  checkSum(words);
  return `${(bytes / 2 / RATE_HZ).toFixed(1)} s: ${words}`;
}

async function speech() {
  const answer = await client.audio.speech.create({
    model: "tts-1", voice: "alloy", input: "This is a test of the voice.", response_format: "mp3",
  });
  const data = Buffer.from(await answer.arrayBuffer());
  check(data.length > 4000, `${data.length} bytes came`);
  return `${data.length} bytes`;
}

async function transcription() {
  const file = await toFile(wav("timer"), "question.wav");
  const answer = await client.audio.transcriptions.create({ model: "whisper-1", file });
  check(/rice/.test(answer.text), `'${answer.text}' was heard`);
  return answer.text;
}

await run({
  spoken_turn, server_tool, client_tool, interruption, bad_event,
  chat, chat_stream, chat_tool, chat_audio, speech, transcription,
});
