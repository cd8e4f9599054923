// The two dialogs: voices and look, and the API key.

import { ask } from "./api.js";
import { byId, el, stored } from "./dom.js";

const SAMPLE = "Hello. This is how I sound.";

/** Voices to choose and to try. */
export class Voices {
  /**
   * @param {import("./player.js").Player} player
   * @param {(voice: string) => void} onChoose
   */
  constructor(player, onChoose) {
    this.player = player;
    this.onChoose = onChoose;
    this.list = byId("voices");
    this.message = byId("voices-message");
    this.trying = null;
    byId("settings").addEventListener("close", () => this.trying?.abort());
  }

  /** Show an agent's voices. */
  show(agent, chosen) {
    this.agent = agent.name;
    this.message.textContent = agent.voices.length ? "" : "This agent does not speak.";
    this.list.replaceChildren(...agent.voices.map((voice) => this.#row(voice, voice === (chosen ?? agent.voices[0]))));
  }

  #row(voice, isChosen) {
    const radio = el("input", { type: "radio", name: "voice", value: voice, checked: isChosen });
    radio.addEventListener("change", () => this.onChoose(voice));
    const listen = el("button", { type: "button", class: "plain small", "aria-label": `Listen to ${voice}` }, "Listen");
    listen.addEventListener("click", () => this.#listen(voice, listen));
    return el("li", {}, el("label", {}, radio, el("span", {}, voice)), listen);
  }

  async #listen(voice, button) {
    const isPlaying = button.dataset.playing === "true";
    this.trying?.abort();
    if (isPlaying) return;
    const trying = new AbortController();
    this.trying = trying;
    button.dataset.playing = "true";
    button.textContent = "Stop";
    this.message.textContent = "";
    try {
      const body = { model: this.agent, input: SAMPLE, voice, response_format: "wav" };
      const answer = await ask("POST", "v1/audio/speech", body, { raw: true, signal: trying.signal });
      await this.player.playFile(await answer.arrayBuffer(), trying.signal);
      document.documentElement.dataset.tried = voice;
    } catch (error) {
      if (error.name !== "AbortError") this.message.textContent = `The voice cannot be tried: ${error.message}`;
    } finally {
      button.textContent = "Listen";
      button.dataset.playing = "false";
    }
  }
}

/** Dark, light, or what the system says. */
export function themeSwitch() {
  const chosen = document.documentElement.dataset.theme ?? "system";
  for (const radio of document.querySelectorAll("input[name=theme]")) {
    radio.checked = radio.value === chosen;
    radio.addEventListener("change", () => {
      const theme = radio.value === "system" ? null : radio.value;
      stored.set("theme", theme);
      if (theme) document.documentElement.dataset.theme = theme;
      else delete document.documentElement.dataset.theme;
      window.dispatchEvent(new Event("themechange"));
    });
  }
}

/** Dialogs close by their buttons, by Escape, and by a click beside them. */
export function closable(dialog) {
  for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close());
  dialog.addEventListener("pointerdown", ({ clientX, clientY, target }) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const isInside = clientX >= left && clientX <= right && clientY >= top && clientY <= bottom;
    if (target === dialog && !isInside) dialog.close();
  });
}

/** Ask for an API key; resolves with it, or null where the dialog was closed. */
export function askForKey(message) {
  const dialog = byId("key");
  const field = byId("key-field");
  byId("key-message").textContent = message;
  field.value = "";
  return new Promise((resolve) => {
    const form = byId("key-form");
    const submit = (event) => {
      event.preventDefault();
      dialog.close(field.value.trim());
    };
    form.addEventListener("submit", submit);
    dialog.addEventListener(
      "close",
      () => {
        form.removeEventListener("submit", submit);
        const value = dialog.returnValue;
        dialog.returnValue = "";
        resolve(value || null);
      },
      { once: true },
    );
    if (!dialog.open) dialog.showModal();
    field.focus();
  });
}
