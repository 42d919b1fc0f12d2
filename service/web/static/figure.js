// The best-so-far figure: every run, the median with its interval, the mean. If a study confirms its incumbents, a
// second panel below shows what they were worth, on the same scale.

import { colour, CONFIG, faded, layout, methodColour, onTheme, plotly, TOUCH } from "./chart.js";
import { byId, h, setText } from "./element.js";
import { capital, level, objective, scaled, signOf, value } from "./format.js";
import { glyph, symbol } from "./glyph.js";
import { settled, trouble } from "./notices.js";
import { atMost } from "./pace.js";
import { hideTip, showTip } from "./tip.js";

const LAYERS = { runs: "runs", median: "median, interval", mean: "mean", held_out: "held out" };
const PANELS = ["What the searcher saw: best validation so far", "What it was worth: test, with fresh seeds"];
const CROWD = 4; // with more arms, runs and intervals hide each other: as in studies/results/summary.py
const MANY = 4000; // points; with more, runs are drawn as lines only, and the pointer highlights none

export class Figure {
  #hidden = new Set(); // arms and layers
  #whole = false;
  #hovered = null;

  /** `trialOf(arm, run, trial)` returns a trial if it is known, `open(arm, run, trial)` shows it. */
  constructor(curves, trialOf, open) {
    Object.assign(this, { curves, trialOf, open, names: [...curves.arms.keys()] });
    this.chart = byId("chart");
    this.chart.classList.toggle("two", curves.confirms);
    if (this.names.length > CROWD) this.#hidden = new Set(["runs", "median"]);
    this.draw = atMost(100, () => this.#draw());
    onTheme(() => this.draw());
    this.#legend();
    this.draw();
  }

  #legend() {
    const label = (name) => this.curves.arms.get(name).label;
    const arms = this.names.map((name, i) => this.#toggle(name, glyph(i), label(name)));
    const own = Object.entries(LAYERS).filter(([layer]) => this.curves.confirms || layer !== "held_out");
    const layers = own.map(([layer, words]) => this.#toggle(layer, layerGlyph(layer), words));
    const gap = () => h("span", { class: "gap" });
    const whole = press("whole range", false, (on) => {
      this.#whole = on;
      this.draw();
    });
    byId("legend").replaceChildren(...arms, gap(), ...layers, gap(), whole);
  }

  #toggle(key, mark, words) {
    return press([mark, words], !this.#hidden.has(key), (on) => {
      if (on) this.#hidden.delete(key);
      else this.#hidden.add(key);
      this.draw();
    });
  }

  async #draw() {
    this.#caption();
    try {
      const Plotly = await plotly();
      settled("charts");
      const first = !this.chart.classList.contains("js-plotly-plot");
      if (first) this.chart.replaceChildren();
      await Plotly.react(this.chart, this.#traces(), this.#layout(), CONFIG);
      if (first) this.#listen();
    } catch (error) {
      trouble("charts", error);
      setTimeout(this.draw, 3000);
    }
  }

  #traces() {
    const under = this.names.flatMap((name, i) => [...this.#interval(name, i), this.#runs(name, i)]);
    const over = this.names.flatMap((name, i) => this.#centre(name, i));
    const below = this.curves.confirms ? this.names.flatMap((name, i) => this.#worth(name, i)) : [];
    return [...under, ...over, ...below, this.#highlight()];
  }

  #shown(name, layer) {
    return !this.#hidden.has(name) && !this.#hidden.has(layer);
  }

  #many() {
    return this.names.reduce((sum, name) => sum + this.curves.done(name), 0) > MANY;
  }

  /** Return one list of /curves as a trace, drawn where every run has a value. */
  #list(name, list) {
    const arm = this.curves.arms.get(name);
    const y = arm[list].map((x, t) => (arm.n[t] === this.curves.runs ? scaled(x, this.curves.metric) : null));
    return { x: y.map((_, t) => t + 1), y, type: "scatter", mode: "lines", hoverinfo: "skip" };
  }

  #interval(name, i) {
    return this.#band(name, i, "median", this.#shown(name, "median"));
  }

  #band(name, i, what, visible) {
    const ends = { visible, line: { shape: "hv", width: 0 } };
    const fill = { fill: "tonexty", fillcolor: faded(methodColour(i), 0.15) };
    return [{ ...this.#list(name, `${what}_low`), ...ends }, { ...this.#list(name, `${what}_high`), ...ends, ...fill }];
  }

  #centre(name, i) {
    return [this.#thin(name, i, "median", "median"), this.#thick(name, i, "mean")];
  }

  /** Return the lower panel's traces: the confirmed mean, its interval, the incumbents' own mean on the test split. */
  #worth(name, i) {
    const bounded = this.#shown(name, "mean") && this.names.length <= CROWD;
    const { control } = this.curves.arms.get(name); // its incumbents differ by luck alone
    const traces = [
      ...this.#band(name, i, "confirmed", bounded),
      ...(control ? [] : [this.#thin(name, i, "held_out", "held_out")]),
      this.#thick(name, i, "confirmed"),
    ];
    return traces.map((trace) => ({ ...trace, yaxis: "y2" }));
  }

  #thin(name, i, what, layer) {
    const line = { shape: "hv", color: methodColour(i), width: 1.4, dash: "6px,3px" };
    return { ...this.#named(name, what), visible: this.#shown(name, layer), line };
  }

  /** Return the trace of a mean; for a control, an arm that searches nothing, it is dotted with open marks. */
  #thick(name, i, what) {
    const { control } = this.curves.arms.get(name);
    const color = methodColour(i);
    const mark = { symbol: symbol(i) + (control ? "-open" : ""), size: 7 };
    return {
      ...this.#named(name, what), visible: this.#shown(name, "mean"), mode: "lines+markers",
      line: { shape: "hv", color, width: control ? 1.4 : 2.2, dash: control ? "2px,2px" : "solid" },
      marker: { ...mark, color, line: { width: 1, color: control ? color : colour("surface") } },
    };
  }

  /** Return the trace of a list that reacts to the pointer. */
  #named(name, what) {
    const found = this.#list(name, what);
    return { ...found, hoverinfo: "none", customdata: found.x.map((t) => ({ name, t, what })) };
  }

  // One trace for all runs of an arm: a trace for each run would be slow.
  #runs(name, i) {
    const [x, y, customdata] = [[], [], []];
    const add = (...point) => [x, y, customdata].forEach((list, k) => list.push(point[k]));
    for (const [run, curve] of this.curves.arms.get(name).best) {
      curve.forEach((best, t) => add(t + 1, scaled(best, this.curves.metric), { name, run, t: t + 1, what: "run" }));
      add(null, null, null);
    }
    const strength = Math.min(0.8, 1.6 / Math.sqrt(this.curves.runs)); // the fewer runs, the stronger each line
    return {
      x, y, customdata, type: "scatter", hoverinfo: "none", connectgaps: false, visible: this.#shown(name, "runs"),
      mode: this.#many() ? "lines" : "lines+markers",
      line: { shape: "hv", width: 0.8, color: faded(methodColour(i), strength) },
      marker: { symbol: symbol(i), size: x.length > 80 ? 3.2 : 5, color: faded(methodColour(i), strength + 0.1) },
    };
  }

  #highlight() {
    const blank = { x: [], y: [], type: "scatter", mode: "lines", hoverinfo: "skip" };
    if (!this.#hovered) return blank;
    const { name, run } = this.#hovered;
    const y = this.curves.arms.get(name).best.get(run).map((best) => scaled(best, this.curves.metric));
    const line = { shape: "hv", color: methodColour(this.names.indexOf(name)), width: 2 };
    return { ...blank, x: y.map((_, t) => t + 1), y, line };
  }

  #layout() {
    const { metric, trials, maximize } = this.curves;
    const sign = signOf(metric);
    const unit = sign && ` (${sign})`;
    const title = `${maximize ? "Best" : "Lowest"} validation ${metric} so far${unit}`;
    const limits = this.curves.limits().map((x) => scaled(x, metric));
    const ticks = trials <= 30 ? { tickmode: "linear", tick0: 0, dtick: trials <= 12 ? 1 : 5 } : {};
    const range = this.#whole ? { autorange: true } : { range: limits };
    const styled = layout({
      x: { title: { text: "Trials" }, range: [0.4, trials + 0.8], ...ticks },
      y: { title: { text: title }, ...range },
    });
    const waiting = {
      text: "No trial has finished yet", showarrow: false, x: 0.5, y: 0.5, xref: "paper", yref: "paper",
      font: { size: 14, color: colour("soft") },
    };
    const annotations = this.names.some((name) => this.curves.done(name)) ? [] : [waiting];
    const one = { ...styled, uirevision: String(this.#whole), annotations };
    return this.curves.confirms ? this.#twoPanels(one, capital(metric) + unit) : one;
  }

  #twoPanels(one, title) {
    const { xaxis, yaxis, margin, annotations } = one;
    const panel = { ...yaxis, title: { ...yaxis.title, text: title } };
    const head = (text, y) => ({
      text, x: 0, y, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false,
      font: { size: 12.5, color: colour("ink") },
    });
    const [upper, lower] = [[0.55, 1], [0, 0.45]];
    return {
      ...one, margin: { ...margin, t: 26 }, xaxis: { ...xaxis, anchor: "y2" },
      yaxis: { ...panel, domain: upper }, yaxis2: { ...panel, domain: lower, matches: "y" },
      annotations: [...annotations, head(PANELS[0], upper[1]), head(PANELS[1], lower[1])],
    };
  }

  #listen() {
    this.chart.on("plotly_hover", ({ points: [point], event }) => this.#hover(point.customdata, event));
    this.chart.on("plotly_unhover", () => this.#hover(null));
    this.chart.on("plotly_click", ({ points: [{ customdata: at }] }) => {
      if (at?.what !== "run") return;
      const holder = this.curves.holder(at.name, at.run, at.t);
      if (holder) this.open(at.name, at.run, holder);
    });
  }

  #hover(at, event) {
    const run = at?.what === "run" && !this.#many() ? at : null;
    if (run?.name !== this.#hovered?.name || run?.run !== this.#hovered?.run) {
      this.#hovered = run;
      this.draw();
    }
    if (!at) return hideTip();
    const [title, rows] = at.what === "run" ? this.#ofRun(at) : this.#ofMethod(at);
    showTip(event.clientX, event.clientY, title, rows);
  }

  #ofRun({ name, run, t }) {
    const { arms, metric } = this.curves;
    const { label, best } = arms.get(name);
    const holder = this.curves.holder(name, run, t);
    const rows = [["after", `${t} trials`], ["best", objective(best.get(run)[t - 1], metric)]];
    if (holder) rows.push(["incumbent", `trial ${holder}`]);
    const trial = this.trialOf(name, run, holder);
    if (trial) rows.push(...Object.entries(trial.hyperparameters).map(([key, x]) => [key, value(x)]));
    return [`${label}, run ${run}`, rows];
  }

  #ofMethod({ name, t, what }) {
    const arm = this.curves.arms.get(name);
    const [middle, low, high] = ["", "_low", "_high"].map((end) =>
      objective(arm[`${what}${end}`][t - 1], this.curves.metric),
    );
    const rows = [["after", `${t} trials`], [what.replace("_", " "), middle]];
    if (low !== "–") rows.push([`${level(arm[`${what}_level`][t - 1])} interval`, `${low} to ${high}`]);
    return [arm.label, rows];
  }

  #caption() {
    const { metric, arms, trials, runs } = this.curves;
    const medians = this.names.flatMap((name) => {
      const t = this.curves.common(name);
      const { label, median } = arms.get(name);
      return t ? [`${label} ${objective(median[t - 1], metric)} after ${t} of ${trials} trials`] : [];
    });
    const now = medians.length ? `The median run now: ${medians.join("; ")}. ` : "";
    const crowd = arms.size > CROWD ? " With so many arms, runs and medians are hidden at first." : "";
    const controls = [...arms.values()].some(({ control }) => control) ? " Dotted: controls, which search nothing." : "";
    const worth = this.curves.confirms
      ? " Lower panel: the incumbents on the test split. Thick: the mean of their hyperparameters trained again with " +
        "fresh seeds, with its interval as a band, once all runs are confirmed. Dashed: the incumbents' own networks."
      : "";
    const each = runs === 1 ? "the run" : `each of ${runs} runs`;
    const zoom = TOUCH ? "" : " Drag to zoom, double-click to go back.";
    setText(
      byId("caption"),
      `${now}Thin: ${each}. Thick: the mean of the runs. Dashed: their median, with its exact interval at each trial ` +
        `as a band. Mean and median are drawn where every run has a value.${worth}${controls}${crowd}${zoom}`,
    );
  }
}

/** Return a button that stays pressed; `changed` gets whether it is pressed. */
export function press(content, pressed, changed) {
  const button = h("button", { type: "button", class: "toggle", "aria-pressed": String(pressed) }, content);
  button.addEventListener("click", () => {
    pressed = !pressed;
    button.setAttribute("aria-pressed", pressed);
    changed(pressed);
  });
  return button;
}

function layerGlyph(layer) {
  const line = h("line", { x1: 1, x2: 21, y1: 6, y2: 6, class: `layer ${layer}` });
  const band = layer === "median" ? h("rect", { x: 1, y: 2, width: 20, height: 8, class: "band" }) : null;
  return h("svg", { viewBox: "0 0 22 12", width: 22, height: 12, "aria-hidden": "true" }, band, line);
}
