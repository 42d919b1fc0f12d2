// The states of studies and trials: a word and a shape, so that nothing depends on colour.

import { h } from "./element.js";

const SHAPES = {
  queued: "M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9z",
  starting: "M6 1.5a4.5 4.5 0 1 0 4.5 4.5M6 3.5v2.5l1.8 1.2",
  running: "M3 1.8v8.4l7-4.2z",
  paused: "M4 2v8M8 2v8",
  completed: "M1.8 6.5l2.7 2.7l5.7-6.4",
  failed: "M2.5 2.5l7 7M9.5 2.5l-7 7",
  cancelled: "M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9zM2.9 9.1l6.2-6.2",
  diverged: "M1.5 9.5c3 0 5-1.5 6-7M4.8 4.3l2.7-2.3l2 3",
};
const ASKED = { pause: "pausing", "pause-now": "pausing", cancel: "cancelling" };

export const ACTIVE = ["starting", "running"];
export const FINISHED = ["completed", "failed", "cancelled"];

export function badge(state, words = state) {
  const shape = h("path", { d: SHAPES[state], class: state === "running" ? "filled" : null });
  const mark = h("svg", { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, shape);
  return h("span", { class: "state", "data-state": state }, mark, words);
}

/** Return a study's state, or the change that its driver is about to make. */
export const stateOf = (study) => badge(study.state, ASKED[study.requested] ?? study.state);

/** Return when a queued study whose driver was lost starts again; null for any other study. */
export const restartOf = ({ state, attempts, not_before: at }) => (state === "queued" && attempts > 0 ? at : null);

/** Return a bar of a study's or an arm's trials: completed, diverged and failed, out of those planned. */
export function progress(trials) {
  const { planned } = trials;
  const part = (kind) =>
    trials[kind] ? h("span", { class: kind, style: { width: `${(100 * trials[kind]) / planned}%` } }) : null;
  const parts = ["completed", "diverged", "failed"].map(part);
  const all = trials.completed + trials.diverged + trials.failed === planned;
  return h("span", { class: "progress", "data-done": all ? "all" : "part", "aria-hidden": "true" }, parts);
}

export function progressWords({ completed, diverged, failed, planned, taken_over: taken }) {
  const told = [[diverged, "diverged"], [failed, "failed"], [taken, "taken over"]].filter(([number]) => number);
  return [`${completed + diverged + failed} of ${planned}`, ...told.map(([n, words]) => `${n} ${words}`)].join(", ");
}
