// Parallel coordinates: the hyperparameters of one arm against the objective, one line per trial.
//
// Not plotly.js's: those compile code at run time, which the page's policy forbids, need WebGL, have no logarithmic
// axis and do not tell which line is under the pointer.

import { hyperparameter, objectives, searched } from "./axis.js";
import { Brush } from "./brush.js";
import { colour, faded, methodColour } from "./chart.js";
import { h, scroll, setText } from "./element.js";
import { count, objective, value } from "./format.js";
import { glyph } from "./glyph.js";
import { atMost } from "./pace.js";
import { hideTip, showTip } from "./tip.js";

const HEIGHT = 216; // of the axes, in pixels
const TOP = 30;
const BOTTOM = 12;
const SIDE = 56; // left of the first axis and right of the last
const APART = 128; // between two axes, at least
const NEAR = 6; // a line this close to the pointer is under it

const y = (u) => TOP + (1 - u) * HEIGHT;

export class Parallel {
  #trials = [];
  #lines = []; // the worst first; `us` are a line's places on the axes, from 0 at the bottom to 1
  #byRank = false;
  #hovered = null;
  #chosen = new Map(); // axis key: [from, to], as places on the axis

  /** `selected` gets the ids of the trials that lie in all selections on the axes, null without a selection. */
  constructor(study, i, label, { open, selected }) {
    Object.assign(this, { study, i, open, selected, arm: study.arms[i] });
    this.space = Object.entries(study.spec.arms[i].space).filter(([, entry]) => searched(entry));
    this.lines = h("canvas", { "aria-hidden": "true" });
    this.front = h("canvas", { "aria-hidden": "true" }); // only the line under the pointer, so that the others stay
    this.brushes = [...this.space.map(([name]) => name), "objective"].map(
      (key) => new Brush(key, HEIGHT, (range) => this.#choose(key, range)),
    );
    this.note = h("span", { class: "note", role: "status" });
    this.clear = h("button", { type: "button", class: "quiet", hidden: true }, "Clear");
    this.clear.addEventListener("click", () => this.brushes.forEach((brush) => brush.set(0, 1)));
    const size = { "min-width": `${2 * SIDE + this.space.length * APART}px`, height: `${TOP + HEIGHT + BOTTOM}px` };
    const axes = h("div", { class: "axes", style: { top: `${TOP}px` } }, this.brushes.map((brush) => brush.element));
    this.plot = h("div", { class: "parallel", style: size }, this.lines, this.front, axes);
    const head = h("h3", {}, glyph(i), label, this.note, this.clear);
    this.element = h("div", { class: "space-of" }, head, scroll(`Hyperparameters of ${label}`, this.plot));
    this.draw = atMost(40, () => this.#draw());
    new ResizeObserver(() => this.#lay()).observe(this.plot);
    this.plot.addEventListener("pointermove", (event) => this.#hover(event));
    this.plot.addEventListener("pointerleave", () => this.#bring(null));
    this.plot.addEventListener("click", () => this.#hovered && this.open(this.#hovered.trial.id));
  }

  show(trials, byRank) {
    this.#trials = trials;
    this.#byRank = byRank;
    this.#lay();
    if (this.#chosen.size) this.#tell();
  }

  #lay() {
    this.width = this.plot.clientWidth;
    if (!this.width) return;
    const last = objectives(this.#trials, this.study, this.#byRank);
    this.axes = [...this.space.map(([name, entry]) => hyperparameter(name, entry)), last];
    const gap = (this.width - 2 * SIDE) / (this.axes.length - 1);
    this.xs = this.axes.map((_, k) => SIDE + k * gap);
    this.axes.forEach((axis, k) => this.brushes[k].show(axis, this.xs[k]));
    this.#lines = this.#trials
      .map((trial) => ({ trial, quality: last.quality(trial), us: this.axes.map((axis) => axis.place(trial)) }))
      .sort((a, b) => a.quality - b.quality);
    this.#draw();
    this.#bring(null);
  }

  #choose(key, range) {
    if (range) this.#chosen.set(key, range);
    else this.#chosen.delete(key);
    this.draw();
    this.#tell();
  }

  #lets(line) {
    return this.axes.every(({ key }, k) => {
      const [low, high] = this.#chosen.get(key) ?? [-1, 2];
      return line.us[k] >= low - 1e-9 && line.us[k] <= high + 1e-9;
    });
  }

  #tell() {
    const through = this.#chosen.size ? this.#lines.filter((line) => this.#lets(line)) : null;
    setText(this.note, through ? `${through.length} of ${count(this.#lines.length, "trial")} selected` : "");
    this.clear.hidden = !through;
    this.selected(through && new Set(through.map((line) => line.trial.id)));
  }

  #draw() {
    if (!this.width) return;
    const pen = this.#pen(this.lines);
    const [ink, soft, bad] = [methodColour(this.i), colour("soft"), colour("bad")];
    const dense = Math.min(1, 12 / Math.sqrt(this.#lines.length + 1)); // many lines are drawn fainter
    const through = (line) => !this.#chosen.size || this.#lets(line);
    for (const line of this.#lines) if (!through(line)) this.#stroke(pen, line, faded(soft, 0.07), 1);
    for (const line of this.#lines) {
      if (!through(line)) continue;
      const { state } = line.trial;
      const strength = Math.min(0.9, 0.05 + dense * (0.12 + 0.9 * line.quality ** 6));
      if (state === "failed") this.#stroke(pen, line, faded(bad, 0.75), 1.1, [2, 3]);
      else if (state === "diverged") this.#stroke(pen, line, faded(soft, 0.65), 1, [5, 3]);
      else this.#stroke(pen, line, faded(ink, strength), line.quality > 0.95 ? 1.6 : 1);
    }
  }

  /** Clear a canvas, give it the plot's size and return its context. */
  #pen(canvas) {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [this.width, TOP + HEIGHT + BOTTOM].map((size) => Math.round(size * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.lineJoin = "round";
    return pen;
  }

  #stroke(pen, line, style, width, dash = []) {
    pen.strokeStyle = style;
    pen.lineWidth = width;
    pen.setLineDash(dash);
    pen.beginPath();
    line.us.forEach((u, k) => pen.lineTo(this.xs[k], y(u)));
    pen.stroke();
  }

  #hover(event) {
    if (event.buttons || !this.xs) return;
    const box = this.plot.getBoundingClientRect();
    this.#bring(this.#under(event.clientX - box.left, event.clientY - box.top));
    if (!this.#hovered) return;
    const { trial } = this.#hovered;
    const { metric } = this.study;
    const end = trial.state === "completed" ? objective(trial.objective, metric) : trial.state;
    const rows = Object.entries(trial.hyperparameters).map(([name, given]) => [name, value(given)]);
    showTip(event.clientX, event.clientY, trial.id, [[metric, end], ...rows]);
  }

  /** Return the line nearest to a point of the plot, of equally near ones the best, null if none is near. */
  #under(px, py) {
    const k = Math.min(this.xs.length - 2, Math.max(0, this.xs.findLastIndex((x) => x <= px)));
    const t = (px - this.xs[k]) / (this.xs[k + 1] - this.xs[k]);
    if (t < -0.1 || t > 1.1) return null;
    let [nearest, distance] = [null, NEAR];
    for (const line of this.#lines) {
      const d = Math.abs(y(line.us[k] + t * (line.us[k + 1] - line.us[k])) - py);
      if (d <= distance && (!this.#chosen.size || this.#lets(line))) [nearest, distance] = [line, d];
    }
    return nearest;
  }

  #bring(line) {
    if (line === null) hideTip();
    if (line === this.#hovered) return;
    this.#hovered = line;
    this.plot.classList.toggle("on-line", line !== null);
    const pen = this.#pen(this.front);
    if (line) this.#stroke(pen, line, colour("ink"), 2);
  }
}
