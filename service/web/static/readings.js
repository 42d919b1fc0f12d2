// Beside the figure: how far each arm is and how good.

import { byId, h, Kept, pairs, setChildren } from "./element.js";
import { objective, range, setting } from "./format.js";
import { glyph, look } from "./glyph.js";
import { progress, progressWords } from "./state.js";

/** Return the hyperparameters of a trial, to copy; a value at an end of its range is marked. */
function given({ hyperparameters, at_bounds: ends }) {
  const entries = Object.entries(hyperparameters).map(([name, x]) => [
    name,
    [h("code", {}, setting(x)), ends[name] && h("span", { class: "at-bound" }, ` at the ${ends[name]} end of its range`)],
  ]);
  return h("dl", { class: "given" }, entries.flatMap(([name, content]) => [h("dt", {}, name), h("dd", {}, content)]));
}

function failures(errors) {
  return h("ul", { class: "errors" }, errors.map(({ error, trials }) => h("li", {}, `${trials} × ${error}`)));
}

export class Readings {
  #kept = new Kept();

  constructor(curves, trials, study, open) {
    Object.assign(this, { curves, trials, open, compared: null });
    const sections = study.spec.arms.map(({ name, space }, i) => {
      const list = h("dl", {});
      const searched = Object.entries(space).map(([key, entry]) => h("span", { title: range(entry) }, key));
      const { label, control } = curves.arms.get(name);
      const head = h("h3", {}, glyph(i), label);
      const spaceOf = h("p", { class: "space" }, searched, control && h("span", {}, "nothing searched: a control"));
      return [name, list, h("section", { class: `reading ${look(i)}` }, head, list, spaceOf)];
    });
    this.lists = new Map(sections);
    this.sections = new Map(sections.map(([name, , section]) => [name, section]));
    byId("readings").replaceChildren(...this.sections.values());
  }

  /** Sort the arms, the best first, and show what the comparison knows of each. */
  compare(comparison) {
    this.compared = comparison;
    setChildren(byId("readings"), comparison.ranking.map((name) => this.sections.get(name)));
    this.show();
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
    const arm = curves.arms.get(name);
    const bad = { diverged: 0, failed: 0 };
    for (const trial of this.trials.of(name)) if (trial.state in bad) bad[trial.state] += 1;
    const completed = curves.done(name) - bad.diverged - bad.failed;
    const counts = { completed, ...bad, planned: curves.runs * curves.trials };
    const rows = [["trials", counts, () => ["trials", [progress(counts), progressWords(counts)]]]];
    const t = curves.common(name);
    if (t) {
      const [middle, low, high] = ["median", "median_low", "median_high"].map((list) =>
        objective(arm[list][t - 1], curves.metric),
      );
      const interval = low === "–" ? "" : ` ${low} to ${high}`;
      rows.push(["median", [t, middle, interval], () => [`median run after ${t}`, [h("b", {}, middle), interval]]]);
    }
    const worth = this.compared?.arms[name].confirmed_at_budget?.mean;
    if (worth && worth.value !== null) {
      const show = (x) => objective(x, curves.metric);
      const interval = worth.low === null ? "" : ` ${show(worth.low)} to ${show(worth.high)}`;
      rows.push(["worth", worth, () => [`confirmed after ${this.compared.compared_at}`, [h("b", {}, show(worth.value)), interval]]]);
    }
    const best = curves.best(name);
    if (best) rows.push(["best", best, () => ["best of all", this.#best(name, best)]]);
    const { best: trial, errors } = this.compared?.arms[name] ?? { best: null, errors: [] };
    const same = trial && best && trial.run === best.run && trial.trial === best.trial; // or it is an older one
    if (same) rows.push(["with", trial, () => ["with", given(trial)]]);
    if (errors.length) rows.push(["errors", errors, () => ["failures", failures(errors)]]);
    return rows;
  }

  #best(name, { value, run, trial }) {
    const click = () => this.open(name, run, trial);
    const link = h("button", { type: "button", class: "link", onclick: click }, `run ${run}, trial ${trial}`);
    return [h("b", {}, objective(value, this.curves.metric)), " ", link];
  }
}
