// The table of trials: sorted, filtered, in pages.

import { columns } from "./columns.js";
import { byId, h, setChildren, setText } from "./element.js";
import { count } from "./format.js";
import { glyph } from "./glyph.js";
import { atMost } from "./pace.js";

const PART = 25; // rows

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const missing = (x) => x === null || x === undefined || Number.isNaN(x);

export class TrialTable {
  #selection = null; // ids selected on the parallel axes, null for all
  #part = 0;
  #sort = "number";
  #descending = false;
  #rows = new Map(); // by id; the row of a finished trial never changes, only the columns do

  /** `trials` is the TrialSet, `open(id)` shows a trial. */
  constructor(study, trials, open) {
    Object.assign(this, { study, trials, open });
    this.place = new Map(study.arms.map((name, i) => [name, i]));
    this.form = byId("trial-filters");
    this.body = byId("trial-table").tBodies[0];
    const option = (text) => h("option", {}, String(text));
    this.form.elements.arm.append(...study.arms.map(option));
    this.form.elements.run.append(...Array.from({ length: study.runs }, (_, i) => option(i + 1)));
    this.form.addEventListener("change", () => this.#refilter());
    this.form.addEventListener("reset", () => setTimeout(() => this.#refilter()));
    byId("trial-previous").addEventListener("click", () => this.#turn(this.#part - 1));
    byId("trial-next").addEventListener("click", () => this.#turn(this.#part + 1));
    this.show = atMost(250, () => this.#show());
    this.#refilter();
  }

  select(ids) {
    this.#selection = ids;
    this.#part = 0;
    this.show();
  }

  /** Return the id of the trial `by` rows after trial `id` in the table, undefined if there is none. */
  step = (id, by) => {
    const list = this.#sorted();
    const at = list.findIndex((trial) => trial.id === id);
    return at < 0 ? undefined : list[at + by]?.id;
  };

  #refilter() {
    const { arm, run } = this.form.elements;
    const states = [...this.form.querySelectorAll("[name=state]:checked")].map((box) => box.value);
    this.filter = { arm: arm.value, run: Number(run.value), states };
    byId("trial-clear").hidden = !arm.value && !run.value && !states.length;
    this.columns = columns(this.study, arm.value);
    if (!this.columns.some((column) => column.key === this.#sort)) this.#sort = "number";
    this.#rows.clear();
    this.#heads();
    this.#turn(0);
  }

  #turn(part) {
    this.#part = part;
    this.#show();
  }

  #heads() {
    const head = byId("trial-table").tHead;
    const focused = head.contains(document.activeElement) ? document.activeElement.dataset.sort : null;
    head.replaceChildren(h("tr", {}, this.columns.map((column) => this.#head(column))));
    if (focused) head.querySelector(`[data-sort="${CSS.escape(focused)}"]`)?.focus();
  }

  #head({ key, text, number, of }) {
    if (!of && key !== "number") return h("th", { scope: "col" }, text);
    const direction = this.#sort !== key ? "none" : this.#descending ? "descending" : "ascending";
    const arrow = h("span", { class: "arrow", "aria-hidden": "true" });
    const button = h("button", { type: "button", "data-sort": key, onclick: () => this.#sortBy(key) }, text, arrow);
    return h("th", { scope: "col", class: number ? "number" : null, "aria-sort": direction }, button);
  }

  #sortBy(key) {
    // the first click puts the best first, or the latest
    const best = ["objective", "test_metric"].includes(key) && this.study.direction === "maximize";
    this.#descending = this.#sort === key ? !this.#descending : best || key === "finished_at";
    this.#sort = key;
    this.#heads();
    this.#turn(0);
  }

  #sorted() {
    const { arm, run, states } = this.filter;
    const wanted = (trial) =>
      (!arm || trial.arm === arm) &&
      (!run || trial.run === run) &&
      (!states.length || states.includes(trial.state)) &&
      (this.#selection === null || this.#selection.has(trial.id));
    const byNumber = (a, b) =>
      this.place.get(a.arm) - this.place.get(b.arm) || a.run - b.run || a.trial - b.trial;
    const list = [...this.trials.all.values()].filter(wanted);
    const sign = this.#descending ? -1 : 1;
    if (this.#sort === "number") return list.sort((a, b) => sign * byNumber(a, b));
    const { of } = this.columns.find((column) => column.key === this.#sort);
    const keyed = list.map((trial) => [of(trial), trial]);
    keyed.sort(([a, one], [b, other]) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b) || byNumber(one, other);
      return sign * compare(a, b) || byNumber(one, other);
    });
    return keyed.map(([, trial]) => trial);
  }

  #show() {
    const { all, loaded } = this.trials;
    const list = this.#sorted();
    const parts = Math.max(1, Math.ceil(list.length / PART));
    this.#part = Math.min(this.#part, parts - 1);
    const rows = list.slice(this.#part * PART, (this.#part + 1) * PART).map((trial) => this.#row(trial));
    const empty = !loaded ? "Loading …" : all.size ? "No matching trial." : "No trial has finished yet.";
    if (!rows.length) rows.push(h("tr", {}, h("td", { colspan: this.columns.length, class: "none" }, empty)));
    setChildren(this.body, rows);
    const of = list.length === all.size ? "" : `${list.length.toLocaleString("en")} of `;
    const more = `${loaded ? "" : ", loading …"}${this.#selection ? ", selected on the axes above" : ""}`;
    setText(byId("trials-note"), `${of}${count(all.size, "trial")}${more}`);
    byId("trial-pager").hidden = parts === 1;
    setText(byId("trial-page"), `${this.#part + 1} of ${parts}`);
    byId("trial-previous").disabled = this.#part === 0;
    byId("trial-next").disabled = this.#part === parts - 1;
  }

  #row(trial) {
    if (!this.#rows.has(trial.id)) {
      const link = h("button", { type: "button", class: "link", onclick: () => this.open(trial.id) }, trial.id);
      const cells = this.columns.map(({ cell, number, key }) =>
        key === "number"
          ? h("th", { scope: "row" }, glyph(this.place.get(trial.arm)), link)
          : h("td", { class: number ? "number" : null }, cell(trial)),
      );
      this.#rows.set(trial.id, h("tr", { "data-trial": trial.id }, cells));
    }
    return this.#rows.get(trial.id);
  }
}
