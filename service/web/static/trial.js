// One trial in full, in a dialog.

import { get } from "./api.js";
import { hide, show } from "./dialog.js";
import { h, pairs, table } from "./element.js";
import { drawEpochs } from "./epochs.js";
import { exact, objective, seconds, setting, toNumber, value } from "./format.js";
import { recorded } from "./recorded.js";
import { at } from "./root.js";
import { badge } from "./state.js";
import { trialId } from "./trialset.js";

const IN_ADDRESS = /^#trial=(.+)$/;
const TOP5 = [["validation_top5", "Validation top-5"], ["test_top5", "Test top-5"]];
const MORE = [
  ...TOP5,
  ["train_metric", "Training $"],
  ["latent_validation_metric", "Validation $, latent weights"],
  ["latent_test_metric", "Test $, latent weights"],
];

/** Decode a text from an address, or return it as it is if it is not encoded well: a person may have typed it. */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Return whether the task has top-5 metrics. */
const counted = (epochs) => epochs.length > 0 && epochs[0].validation_top5 !== null;

/** Return a link to the other study's trial that this trial was taken over from; it may have been deleted since. */
function origin(from) {
  const [study, trial] = from.split("/");
  const href = `${at(`studies/${encodeURIComponent(study)}`)}#trial=${encodeURIComponent(trial)}`;
  return h("a", { href }, `${study}, ${trial}`);
}

export class TrialView {
  #id = null;
  #steps = []; // the open trial's buttons, each with how many rows it moves in the table

  /** `step(id, by)` returns the id of the trial `by` rows further in the table, undefined beyond its ends. */
  constructor(study, path, trials, step) {
    Object.assign(this, { study, path: `${path}/trials`, trials, step });
    addEventListener("hashchange", () => this.#follow());
    this.#follow();
  }

  /** Show the trial that the page's address names. */
  #follow() {
    const linked = IN_ADDRESS.exec(location.hash);
    if (linked) this.show(decode(linked[1]));
    else if (this.#id !== null) hide();
  }

  open = (arm, run, number) => this.show(trialId(arm, run, number));

  /** Show the trial with this id, which is in the page's address while the trial is open. */
  async show(id) {
    const body = h("div", { class: "trial" }, h("p", { class: "waiting" }, "Loading …"));
    show(id, body, { wide: true, closed: () => this.#opened(null) });
    this.#opened(id);
    try {
      const address = `${this.path}/${encodeURIComponent(id)}`;
      const [trial, { items: epochs }, { items: confirmed }, { items: series }] = await Promise.all([
        this.trials.all.get(id) ?? get(address),
        get(`${address}/epochs`),
        this.study.spec.confirm ? get(`${address}/confirmations`) : { items: [] },
        this.study.spec.record ? get(`${address}/series`) : { items: [] },
      ]);
      if (this.#id === id) this.#fill(body, { trial, epochs, confirmed, series });
    } catch (error) {
      const words = [h("strong", {}, error.title ?? "Something went wrong"), " ", error.message];
      body.replaceChildren(h("div", { class: "problem", role: "alert" }, words));
    }
  }

  /** Enable the buttons again after the table has changed: it is empty when a linked trial is first shown. */
  tableChanged() {
    for (const [button, by] of this.#steps) button.disabled = !this.step(this.#id, by);
  }

  #opened(id) {
    this.#id = id;
    this.#steps = [];
    const hash = id === null ? "" : `#trial=${encodeURIComponent(id)}`;
    history.replaceState(null, "", `${location.pathname}${location.search}${hash}`);
  }

  #fill(body, { trial, epochs, confirmed, series }) {
    const { metric } = this.study;
    const given = Object.entries(trial.hyperparameters);
    const last = trial.objective !== null && counted(epochs) ? epochs.at(-1) : null;
    const facts = [
      ["State", badge(trial.state)],
      [`Validation ${metric}`, [h("b", {}, objective(trial.objective, metric)), this.#each(trial, "objective")]],
      [`Test ${metric}`, [objective(trial.test_metric, metric), this.#each(trial, "test_metric")]],
      ...(last ? TOP5.map(([key, text]) => [text, objective(last[key], metric)]) : []),
      ...(confirmed.length ? [[`Test ${metric}, fresh seeds`, this.#confirmed(confirmed)]] : []),
      ["Chosen by", trial.source],
      ["Training time", `${seconds(trial.train_seconds)}${trial.attempts > 1 ? `, attempt ${trial.attempts}` : ""}`],
      ["Suggestion time", seconds(trial.suggest_seconds)],
      ["Finished", exact(trial.finished_at)],
      ...(trial.taken_from ? [["Taken over from", origin(trial.taken_from)]] : []),
      [trial.repeats.length ? "Seeds" : "Seed", h("code", {}, this.#seeds(trial))],
      ["Split seed", h("code", {}, this.study.split_seeds[trial.run - 1])],
    ];
    const move = (words, by) => {
      const go = () => this.show(this.step(trial.id, by));
      return [h("button", { type: "button", onclick: go }, words), by];
    };
    this.#steps = [move("Previous in the table", -1), move("Next in the table", 1)];
    this.tableChanged();
    const error = [h("h3", {}, "Error"), h("pre", { class: "error", tabindex: 0 }, trial.error)];
    const chart = h("div", { class: "chart small", role: "img", "aria-label": "The epochs in the table below" });
    body.replaceChildren(
      h("dl", { class: "facts" }, pairs(facts)),
      h("h3", {}, "Hyperparameters"),
      h("dl", { class: "facts" }, pairs(given.map(([key, x]) => [key, h("code", {}, setting(x))]))),
      ...(trial.error === null ? [] : error),
      h("h3", {}, "Epochs"),
      ...(epochs.length ? [chart, this.#table(epochs)] : [h("p", { class: "note" }, "No epoch was finished.")]),
      ...recorded(series, this.study.arms.indexOf(trial.arm)),
      h("div", { class: "buttons" }, this.#steps.map(([button]) => button)),
    );
    if (epochs.length) drawEpochs(chart, epochs, metric, this.study.arms.indexOf(trial.arm));
  }

  /** Return the values that a trial's mean is of, in words; empty for a trial of one training. */
  #each({ repeats }, what) {
    return repeats.length ? ` (${repeats.map((repeat) => objective(repeat[what], this.study.metric)).join(", ")})` : "";
  }

  #seeds({ seed, repeats }) {
    return repeats.length ? repeats.map((repeat) => repeat.seed).join(", ") : seed;
  }

  /** Return the mean of the confirmations and each value, in words. */
  #confirmed(confirmations) {
    const { metric } = this.study;
    const found = confirmations.map((each) => toNumber(each.test_metric)).filter(Number.isFinite);
    const mean = found.reduce((sum, x) => sum + x, 0) / found.length;
    const each = confirmations.map((one) => objective(one.test_metric, metric)).join(", ");
    return `${found.length ? objective(mean, metric) : "–"} (${each})`;
  }

  #table(epochs) {
    const { metric } = this.study;
    const plain = (x) => (Number.isFinite(toNumber(x)) ? value(toNumber(x)) : String(x));
    const more = MORE.filter(([key]) => epochs[0][key] !== null);
    const heads = [
      "Epoch", "Train loss", `Validation ${metric}`, `Test ${metric}`, ...more.map(([, text]) => text.replace("$", metric)),
      "Flip ratio", "Training", "Evaluation",
    ];
    const rows = epochs.map((epoch) => [
      String(epoch.epoch),
      plain(epoch.train_loss),
      objective(epoch.validation_metric, metric),
      objective(epoch.test_metric, metric),
      ...more.map(([key]) => objective(epoch[key], metric)),
      plain(epoch.flip_ratio),
      seconds(epoch.train_seconds),
      seconds(epoch.evaluate_seconds),
    ]);
    return table("Epochs", heads.map((text) => ({ text, number: true })), rows);
  }
}
