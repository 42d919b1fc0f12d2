// A parallel axis with its ticks, and the part of it that is selected by pointer or keyboard.

import { h, setText } from "./element.js";

const STEPS = {
  ArrowUp: 0.02, ArrowRight: 0.02, PageUp: 0.1, End: 1,
  ArrowDown: -0.02, ArrowLeft: -0.02, PageDown: -0.1, Home: -1,
};

export class Brush {
  #low = 0;
  #high = 1;

  /** `height` is in pixels; `changed` gets the selected [from, to], 0 at the bottom and 1 at the top, null for all. */
  constructor(key, height, changed) {
    Object.assign(this, { key, height, changed });
    this.name = h("span", { class: "name" });
    this.ticks = h("span", {});
    this.chosen = h("span", { class: "chosen", hidden: true });
    this.handles = { high: this.#handle("high"), low: this.#handle("low") };
    const parts = [this.ticks, this.chosen, this.handles.high, this.handles.low];
    this.track = h("div", { class: "track", style: { height: `${height}px` } }, parts);
    this.track.addEventListener("pointerdown", (event) => this.#drag(event));
    this.track.addEventListener("click", (event) => event.stopPropagation()); // the plot's own click opens a trial
    this.element = h("div", { class: "axis" }, this.name, this.track);
  }

  /** Show this axis at `x` pixels from the left. */
  show(axis, x) {
    this.axis = axis;
    this.element.style.left = `${x}px`;
    setText(this.name, axis.label);
    const tick = ([u, text]) => h("span", { class: "tick", style: { top: this.#top(u) } }, text);
    this.ticks.replaceChildren(...axis.ticks.map(tick));
    this.#render();
  }

  set(low, high) {
    if (low === this.#low && high === this.#high) return;
    [this.#low, this.#high] = [low, high];
    this.#render();
    this.changed(this.#all() ? null : [low, high]);
  }

  #all() {
    return this.#low <= 0 && this.#high >= 1;
  }

  #top(u) {
    return `${(1 - u) * this.height}px`;
  }

  #render() {
    this.chosen.hidden = this.#all();
    this.chosen.style.top = this.#top(this.#high);
    this.chosen.style.height = `${(this.#high - this.#low) * this.height}px`;
    for (const [end, u] of [["low", this.#low], ["high", this.#high]]) {
      const handle = this.handles[end];
      handle.style.top = this.#top(u);
      handle.setAttribute("aria-valuenow", Math.round(100 * u));
      handle.setAttribute("aria-valuetext", this.axis.words(u));
    }
  }

  #handle(end) {
    const name = `${this.key}, ${end === "low" ? "from" : "up to"}`;
    const range = { "aria-orientation": "vertical", "aria-valuemin": 0, "aria-valuemax": 100 };
    const element = h("span", { class: "handle", role: "slider", tabindex: 0, "aria-label": name, ...range });
    element.addEventListener("keydown", (event) => this.#key(event, end));
    return element;
  }

  #key(event, end) {
    const by = STEPS[event.key];
    if (event.key === "Escape") this.set(0, 1);
    else if (by === undefined) return;
    else if (end === "low") this.set(Math.min(Math.max(0, this.#low + by), this.#high), this.#high);
    else this.set(this.#low, Math.max(Math.min(1, this.#high + by), this.#low));
    event.preventDefault();
  }

  #drag(start) {
    if (start.button) return;
    start.preventDefault();
    const top = this.track.getBoundingClientRect().top;
    const at = (event) => Math.min(1, Math.max(0, 1 - (event.clientY - top) / this.height));
    const from = at(start);
    const move = (event) => this.set(Math.min(from, at(event)), Math.max(from, at(event)));
    const end = (event) => {
      this.track.removeEventListener("pointermove", move);
      if (Math.abs(at(event) - from) * this.height < 4) this.set(0, 1); // a click clears the selection
    };
    this.track.setPointerCapture(start.pointerId);
    this.track.addEventListener("pointermove", move);
    this.track.addEventListener("pointerup", end, { once: true });
  }
}
