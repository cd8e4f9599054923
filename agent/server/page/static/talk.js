// The button and the space bar: hold to talk; a short tap talks until the next one.

const TAP_MS = 300;
const NATIVE = "input, textarea, select, button, summary, a, dialog, [role=switch]";

export class TalkButton {
  /**
   * @param {HTMLButtonElement} button
   * @param {object} listeners
   * @param {() => boolean} listeners.holds  whether it is held to talk; else a click switches
   * @param {() => void} listeners.onPress
   * @param {() => void} listeners.onRelease
   * @param {() => void} listeners.onToggle
   */
  constructor(button, listeners) {
    this.button = button;
    this.listeners = listeners;
    this.isDown = false; // somebody talks
    this.pressedAt = 0;
    this.held = false; // by a finger or the space bar
    this.ownsSpace = false; // until it is let go
    button.addEventListener("pointerdown", (event) => this.#pointerDown(event));
    button.addEventListener("pointerup", () => this.#up());
    button.addEventListener("pointercancel", () => this.#up());
    button.addEventListener("contextmenu", (event) => event.preventDefault()); // of a long touch
    button.addEventListener("click", (event) => event.detail === 0 && this.#click());
    document.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("keyup", (event) => event.code === "Space" && this.ownsSpace && this.#spaceUp(event));
    window.addEventListener("blur", () => this.#up());
  }

  /** Nobody talks any more, whatever is still held. */
  reset() {
    this.isDown = this.held = false;
  }

  #pointerDown(event) {
    if (event.button !== 0) return;
    if (!this.listeners.holds()) this.listeners.onToggle();
    else if (this.isDown) this.#end();
    else {
      this.button.setPointerCapture(event.pointerId);
      this.#begin();
    }
  }

  /** A click without a pointer: Enter, or a screen reader. */
  #click() {
    if (!this.listeners.holds()) this.listeners.onToggle();
    else if (this.isDown) this.#end();
    else {
      this.#begin();
      this.held = false;
    }
  }

  #key(event) {
    if (event.code !== "Space" || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    if (target !== this.button && target.closest?.(NATIVE)) return;
    if (document.querySelector("dialog[open]")) return;
    event.preventDefault();
    this.ownsSpace = true;
    if (event.repeat) return;
    if (!this.listeners.holds()) this.listeners.onToggle();
    else if (this.isDown) this.#end();
    else this.#begin();
  }

  #spaceUp(event) {
    this.ownsSpace = false;
    event.preventDefault(); // no click of the button
    this.#up();
  }

  #begin() {
    this.isDown = this.held = true;
    this.pressedAt = performance.now();
    this.listeners.onPress();
  }

  #up() {
    if (!this.held) return;
    this.held = false;
    if (performance.now() - this.pressedAt >= TAP_MS) this.#end();
  }

  #end() {
    if (!this.isDown) return;
    this.isDown = this.held = false;
    this.listeners.onRelease();
  }
}
