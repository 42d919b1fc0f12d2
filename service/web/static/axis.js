// A parallel axis: where a trial lies on it, from 0 at the bottom to 1, and its labels.

import { objective, toNumber, value } from "./format.js";

/** Return whether an entry of a search space is searched: it is neither a fixed value nor tied. */
export const searched = (entry) => entry !== null && typeof entry === "object" && entry.to === undefined;

/** Return the axis of a searched hyperparameter, by its entry in the search space. */
export function hyperparameter(name, entry) {
  const of = (trial) => trial.hyperparameters[name];
  if (Array.isArray(entry)) {
    const at = (x) => (entry.indexOf(x) + 0.5) / entry.length;
    const ticks = entry.map((x) => [at(x), value(x)]);
    const near = (u) => value(entry[Math.min(entry.length - 1, Math.floor(u * entry.length))]);
    // spread trials of the same value, each always to the same place
    const aside = (trial) => (((trial.run * 31 + trial.trial) * 0.618) % 1 - 0.5) * (0.5 / entry.length);
    return { key: name, label: name, place: (trial) => at(of(trial)) + aside(trial), ticks, words: near };
  }
  const { low, high, log } = entry;
  const [bend, back] = log ? [Math.log, Math.exp] : [(x) => x, (x) => x];
  const [from, to] = [bend(low), bend(high)];
  const at = (x) => (bend(x) - from) / (to - from);
  return {
    key: name, label: log ? `${name}, log` : name, place: (trial) => at(of(trial)),
    ticks: (log ? decades(low, high) : steps(low, high)).map((x) => [at(x), value(x)]),
    words: (u) => value(back(from + u * (to - from))),
  };
}

/** Return the axis of the objective, by value or by rank, with places below it for trials that diverged or failed. */
export function objectives(trials, study, byRank) {
  const lanes = ["diverged", "failed"].filter((state) => trials.some((trial) => trial.state === state));
  const floor = lanes.length * 0.09;
  const sign = study.direction === "maximize" ? 1 : -1;
  const sorted = trials
    .filter((trial) => trial.state === "completed")
    .map((trial) => sign * toNumber(trial.objective))
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  const last = sorted.length - 1;
  const [low, high] = [sorted[0], sorted[last]];
  const flat = last < 1 || low === high;
  const rank = (x) => (flat ? 1 : firstAt(sorted, x) / last);
  const share = (x) => (flat || byRank ? rank(x) : (x - low) / (high - low));
  const back = (u) => (byRank ? sorted[Math.round(u * last)] : low + u * (high - low));
  const lift = (u) => floor + u * (1 - floor);
  const lane = (state) => (lanes.length - 1 - lanes.indexOf(state)) * 0.09;
  const of = (trial) => sign * toNumber(trial.objective);
  const words = (u) => {
    if (u < floor - 0.04) return lanes[Math.max(0, lanes.length - 1 - Math.round(u / 0.09))];
    return last < 0 ? "–" : objective(sign * back(Math.max(0, (u - floor) / (1 - floor))), study.metric);
  };
  const values = last < 0 ? [] : flat ? [high] : byRank ? [0, 0.25, 0.5, 0.75, 1].map(back) : steps(low, high);
  return {
    key: "objective", label: `validation ${study.metric}${byRank ? ", by rank" : ""}`, words,
    quality: (trial) => (trial.state === "completed" ? rank(of(trial)) : -1),
    place: (trial) => (trial.state === "completed" ? lift(share(of(trial))) : lane(trial.state)),
    ticks: [
      ...lanes.map((state) => [lane(state), state]),
      ...values.map((x, i) => [lift(byRank && !flat ? i / 4 : share(x)), objective(sign * x, study.metric)]),
    ],
  };
}

function firstAt(sorted, x) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

function decades(low, high) {
  const all = [];
  for (let e = Math.ceil(Math.log10(low) - 1e-9); e <= Math.log10(high) + 1e-9; e++) all.push(10 ** e);
  return all.length < 2 ? [low, high] : all;
}

/** Return about five round values from `low` to `high`. */
export function steps(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.99);
  const all = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) all.push(i * step);
  return all;
}
