// The best so far of every run, as the service computed it and updated by the trials since.

import { searched } from "./axis.js";
import { toNumber } from "./format.js";

const ESTIMATES = ["median", "mean", "confirmed"];
const LISTS = ["n", "held_out", ...ESTIMATES.flatMap((what) => ["", "_low", "_high", "_level"].map((end) => what + end))];

export class Curves {
  /** `answer` is the answer of /curves, `spec` the study's spec. */
  constructor(answer, spec) {
    this.trials = spec.trials;
    this.runs = spec.runs; // at most; a decided study may have needed fewer
    this.initial = spec.searcher.initial_trials;
    this.maximize = answer.direction === "maximize";
    this.metric = answer.metric;
    this.confirms = Boolean(spec.confirm);
    this.lastEvent = -1;
    this.arms = new Map(
      spec.arms.map(({ name, space }) => {
        const control = !Object.values(space).some(searched);
        return [name, { name, label: answer.arms[name].label, control, best: new Map() }];
      }),
    );
    this.update(answer);
  }

  /** Update from a newer answer; runs that are further than the answer stay as they are. */
  update(answer) {
    if (answer.last_event < this.lastEvent) return;
    this.lastEvent = answer.last_event;
    this.runs = answer.runs;
    for (const [name, given] of Object.entries(answer.arms)) {
      const arm = this.arms.get(name);
      for (const { run, best_so_far: best } of given.runs) {
        if (best.length >= (arm.best.get(run)?.length ?? 0)) arm.best.set(run, best.map(toNumber));
      }
      for (const run of arm.best.keys()) if (run > this.runs) arm.best.delete(run);
      for (const list of LISTS) arm[list] = given[list];
    }
  }

  /** Add the trial of an event. Returns whether it was new. */
  add({ arm: name, run, trial, objective }) {
    const { best } = this.arms.get(name);
    if (!best.has(run)) best.set(run, []);
    const curve = best.get(run);
    if (trial !== curve.length + 1) return false;
    const value = toNumber(objective);
    const before = curve.length ? curve[curve.length - 1] : NaN;
    curve.push(Number.isNaN(value) || (!Number.isNaN(before) && !this.better(value, before)) ? before : value);
    return true;
  }

  better(a, b) {
    return this.maximize ? a > b : a < b;
  }

  /** Return how many trials of an arm are done. */
  done(name) {
    let sum = 0;
    for (const curve of this.arms.get(name).best.values()) sum += curve.length;
    return sum;
  }

  /** Return the number of a run's incumbent after `trial` trials, 0 if there is none. */
  holder(name, run, trial) {
    const curve = this.arms.get(name).best.get(run);
    return curve.indexOf(curve[trial - 1]) + 1; // the best so far changes only when a trial improves it
  }

  /** Return the best of an arm: its value with the run and trial that reached it, null if there is none. */
  best(name) {
    let found = null;
    for (const [run, curve] of this.arms.get(name).best) {
      const value = curve.length ? curve[curve.length - 1] : NaN;
      if (!Number.isNaN(value) && (found === null || this.better(value, found.value))) {
        found = { value, run, trial: this.holder(name, run, curve.length) };
      }
    }
    return found;
  }

  /** Return the last trial after which every run of an arm has a value, 0 if there is none. */
  common(name) {
    const { n } = this.arms.get(name);
    return n.lastIndexOf(this.runs) + 1;
  }

  /**
   * Return the limits of the vertical axis in the metric's own unit, as in studies/results/figures.py: at most one
   * point in ten lies beyond them, and no mean from the last initial trial on.
   */
  limits() {
    const sign = this.maximize ? 1 : -1;
    const points = [];
    for (const { best } of this.arms.values()) {
      for (const curve of best.values()) for (const x of curve) if (Number.isFinite(x)) points.push(sign * x);
    }
    if (!points.length) return [0, 1];
    points.sort((a, b) => a - b);
    const means = [...this.arms.values()]
      .flatMap(({ mean, held_out: heldOut, confirmed }) => [mean, heldOut, confirmed])
      .flatMap((values) => values.slice(this.initial - 1))
      .map((x) => sign * toNumber(x))
      .filter(Number.isFinite);
    const tenth = points[Math.floor(0.1 * (points.length - 1))];
    const low = Math.min(tenth, ...means);
    const high = Math.max(points[points.length - 1], ...means);
    const margin = 0.06 * (high - low) || 0.01 * Math.abs(high) || 1;
    return this.maximize ? [low - margin, high + margin] : [-high - margin, -low + margin];
  }
}
