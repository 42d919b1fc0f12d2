// How many signs differ between two arms, by step: each run, and their mean.

import { colour, CONFIG, layout, methodColour, plotly } from "./chart.js";
import { byId, h, setText } from "./element.js";
import { count, value } from "./format.js";

export class Signs {
  #pairs = [];

  constructor() {
    this.section = byId("signs");
    this.chart = byId("signs-chart");
    this.choice = h("select", { onchange: () => this.draw() });
    byId("signs-controls").append(h("label", {}, "Between ", this.choice));
  }

  /** Show the answer of /differing-signs. */
  show({ pairs }) {
    this.#pairs = pairs;
    this.section.hidden = false;
    const names = pairs.map((pair) => `${pair.first_label} and ${pair.second_label}`);
    if ([...this.choice.options].map((option) => option.text).join() !== names.join()) {
      const chosen = this.choice.selectedOptions[0]?.text;
      this.choice.replaceChildren(...names.map((name, i) => h("option", { value: i, selected: name === chosen }, name)));
    }
    this.choice.parentElement.hidden = !pairs.length;
    this.chart.hidden = !pairs.length;
    if (pairs.length) this.draw();
    else setText(byId("signs-note"), "No two arms have recorded their signs yet.");
  }

  async draw() {
    const pair = this.#pairs[this.choice.value || 0];
    if (!pair) return;
    setText(byId("signs-note"), words(pair));
    const Plotly = await plotly();
    const line = (y, name, style, width) => ({
      x: pair.steps, y, name, type: "scatter", mode: "lines", line: { color: style, width },
      hovertemplate: `${name}: %{y:.6~g} signs<extra>step %{x}</extra>`,
    });
    const traces = [
      ...pair.runs.map(({ run, differing }) => line(differing, `run ${run}`, colour("line-strong"), 1)),
      line(pair.mean, "mean", methodColour(0), 2),
    ];
    const own = layout({
      x: { title: { text: "Step" } }, y: { title: { text: "differing signs" }, rangemode: "tozero" },
    });
    const hoverlabel = { bgcolor: colour("surface"), bordercolor: colour("line-strong"), font: { color: colour("ink") } };
    await Plotly.react(this.chart, traces, { ...own, dragmode: false, hoverlabel }, CONFIG);
  }
}

/** Return the last counts, in words. */
function words({ steps, runs, mean }) {
  const last = mean.findLastIndex((x) => x !== null);
  const counts = runs.map(({ differing }) => differing[last]).filter((x) => x !== null);
  const [least, most] = [Math.min(...counts), Math.max(...counts)].map(value);
  const each = least === most ? `${least} in each` : `${least} to ${most}`;
  return `After step ${steps[last]}: ${value(mean[last])} on average over ${count(counts.length, "run")}, ${each}.`;
}
