// Beside the figure: how far each method is and how good.

import { byId, h, Kept, pairs, setChildren } from "./element.js";
import { objective, range } from "./format.js";
import { glyph, look } from "./glyph.js";
import { progress, progressWords } from "./state.js";

export class Readings {
  #kept = new Kept();

  constructor(curves, trials, study, open) {
    Object.assign(this, { curves, trials, open });
    const sections = study.spec.methods.map(({ name, space }, i) => {
      const list = h("dl", {});
      const searched = Object.entries(space).map(([key, entry]) => h("span", { title: range(entry) }, key));
      const { label } = curves.methods.get(name);
      const head = h("h3", {}, glyph(i), label);
      const spaceOf = h("p", { class: "space" }, searched);
      return [name, list, h("section", { class: `reading ${look(i)}` }, head, list, spaceOf)];
    });
    this.lists = new Map(sections);
    byId("readings").replaceChildren(...sections.map(([, , section]) => section));
  }

  show() {
    for (const [name, list] of this.lists) {
      const rows = this.#rows(name).map(([key, shown, make]) =>
        this.#kept.get(`${name} ${key}`, shown, () => pairs([make()])[0]),
      );
      setChildren(list, rows);
    }
  }

  #rows(name) {
    const { curves } = this;
    const method = curves.methods.get(name);
    const bad = { diverged: 0, failed: 0 };
    for (const trial of this.trials.of(name)) if (trial.state in bad) bad[trial.state] += 1;
    const completed = curves.done(name) - bad.diverged - bad.failed;
    const counts = { completed, ...bad, planned: curves.runs * curves.trials };
    const rows = [["trials", counts, () => ["trials", [progress(counts), progressWords(counts)]]]];
    const t = curves.common(name);
    if (t) {
      const [middle, low, high] = ["median", "median_low", "median_high"].map((list) =>
        objective(method[list][t - 1], curves.metric),
      );
      const interval = low === "–" ? "" : ` ${low} to ${high}`;
      rows.push(["median", [t, middle, interval], () => [`median run after ${t}`, [h("b", {}, middle), interval]]]);
    }
    const best = curves.best(name);
    if (best) rows.push(["best", best, () => ["best of all", this.#best(name, best)]]);
    return rows;
  }

  #best(name, { value, run, trial }) {
    const click = () => this.open(name, run, trial);
    const link = h("button", { type: "button", class: "link", onclick: click }, `run ${run}, trial ${trial}`);
    return [h("b", {}, objective(value, this.curves.metric)), " ", link];
  }
}
