// The columns of the table of trials.

import { h } from "./element.js";
import { exact, objective, seconds, setting, toNumber, value } from "./format.js";
import { badge } from "./state.js";

/** Return the columns: `of` gives the sort key, `cell` what is shown. One arm's hyperparameters get a column each. */
export function columns(study, arm) {
  const { metric } = study;
  const number = (key, text, of, show) => ({ key, text, of, cell: (trial) => show(of(trial)), number: true });
  const score = (key, text) => number(key, text, (trial) => toNumber(trial[key]), (x) => objective(x, metric));
  const time = (key, text) => number(key, text, (trial) => trial[key], seconds);
  const chosen = (key) => number(key, key, (trial) => trial.hyperparameters[key], exactly);
  return [
    { key: "number", text: "Trial" },
    { key: "state", text: "State", of: (trial) => trial.state, cell: (trial) => badge(trial.state) },
    score("objective", `Validation ${metric}`),
    score("test_metric", "Test"),
    ...(arm ? space(study, arm).map(chosen) : [ALL]),
    { key: "source", text: "Chosen by", of: (trial) => trial.source, cell: (trial) => trial.source },
    time("train_seconds", "Training time"),
    time("suggest_seconds", "Suggestion time"),
    number("finished_at", "Finished (UTC)", (trial) => trial.finished_at, short),
  ];
}

const exactly = (x) => (x === undefined ? "–" : h("span", { title: setting(x) }, value(x)));

const ALL = {
  key: "hyperparameters",
  text: "Hyperparameters",
  cell: (trial) => Object.entries(trial.hyperparameters).map(pair),
};
const pair = ([key, x]) => h("span", { class: "pair" }, `${key} `, h("b", { title: setting(x) }, value(x)));
const short = (at) => h("time", { datetime: at, title: exact(at) }, exact(at).slice(5, 19));

function space(study, arm) {
  return Object.keys(study.spec.arms.find(({ name }) => name === arm).space);
}
