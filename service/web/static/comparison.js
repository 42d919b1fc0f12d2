// The comparison in words and numbers: what report.md says, live.

import { byId, h, setChildren, setText, table } from "./element.js";
import { showForest } from "./forest.js";
import { capital, count, decimal, extra, level, objective, percent, points, printed, pValue, unitOf } from "./format.js";

const SPLITS = [["confirmed", "confirmed_at_budget"], ["validation", "best_at_budget"], ["test", "test_at_budget"]];

/** Return the splits that the study has: it may have no confirmations, or none yet. */
const splitsOf = ({ arms }) => SPLITS.filter(([, what]) => Object.values(arms).some((arm) => arm[what]));

export function showComparison({ verdict, table: best, summary, comparison }) {
  setText(byId("verdict"), verdict);
  byId("glance").replaceChildren(...(best.rows.length ? glance(best) : []));
  setChildren(byId("summary"), summary.split("\n\n").map((text) => h("p", {}, text)));
  const done = comparison.compared_at;
  const after = done ? `after ${count(done, "trial")} of ${comparison.trials}` : "";
  setText(byId("comparison-note"), [after, looked(comparison)].filter(Boolean).join(", "));
  showForest(comparison, splitsOf(comparison));
  const parts = [published, ...(done ? PARTS : [])].map((part) => part(comparison));
  const section = ([title, ...rest]) => [h("h3", {}, title), table(title, ...rest)];
  byId("endpoints").replaceChildren(...parts.filter(Boolean).flatMap(section));
}

/** Return how far a study is that stops when it is decided. */
function looked({ decision }) {
  if (!decision) return "";
  return `${decision.verdict ?? "not decided"} after ${count(decision.after, "run")} of at most ${decision.planned}`;
}

/** Return the table of the best arms, as in the terminal and the report. */
function glance({ columns, rows, note }) {
  const heads = columns.map(capital);
  const cell = (text) => {
    const [found, interval] = text.split(" (");
    return interval ? [found, h("span", { class: "interval" }, `(${interval}`)] : text;
  };
  return [table("The best arms", heads, rows.map((row) => row.map(cell))), h("p", { class: "note" }, note)];
}

/** Return a value with its interval and the interval's level. */
function estimate({ value, low, high, level: of }, show) {
  if (value === null) return "–";
  if (low === null || high === null) return h("b", {}, show(value));
  const interval = h("span", { class: "interval" }, `${show(low)} to ${show(high)} `, h("small", {}, level(of)));
  return [h("b", {}, show(value)), interval];
}

const names = ({ arms }, pair) => [arms[pair.a].label, arms[pair.b].label];

// each of the following returns a title, heads and rows, or null

/** The values that papers print, with ours beside them; shown even before we have any. */
function published({ published: rows, metric, arms, confirmations }) {
  if (!rows) return null;
  const ends = confirmations ? ["test_at_budget", "confirmed_at_budget"] : ["test_at_budget"];
  const mean = (arm, what) => (arms[arm]?.[what] ? estimate(arms[arm][what].mean, (x) => objective(x, metric)) : "–");
  const cells = rows.map(({ name, arm, test, sd, source }) => [
    name, h("i", {}, printed(test, sd, metric)), ...ends.map((what) => mean(arm, what)), source,
  ]);
  const ours = confirmations ? ["Ours, mean", "Ours, confirmed"] : ["Ours, mean"];
  const heads = ["Method", "Published, not ours", ...ours, "Published by"];
  return [`Test ${metric} beside published values, ± their standard deviation over trainings`, heads, cells];
}

function climbs({ metric, arms, ranking, confirmations, compared_at: done }) {
  const rows = ranking.map((name) => arms[name]).filter(({ climb }) => climb).map(({ label, runs, climb, ...arm }) => [
    label,
    `${climb.n} of ${runs}`,
    ...[climb.seen, climb.confirmed].map((found) => estimate(found, (x) => points(x, metric))),
    estimate(climb.luck, percent),
    estimate(arm.confirmed_at_budget.mean, (x) => objective(x, metric)),
  ]);
  if (!rows.length) return null;
  const unit = unitOf(metric);
  const heads = ["Arm", "Runs confirmed", `Seen climb,${unit}`, `Confirmed climb,${unit}`, "Luck", "Confirmed at the budget"];
  const seeds = count(confirmations.seeds, "fresh seed");
  return [`The climb from trial 1 to ${done}, with each incumbent trained again with ${seeds}`, heads, rows];
}

function similar(comparison) {
  const { metric, pairs } = comparison;
  const rows = pairs.filter(({ equivalence }) => equivalence).map(({ equivalence: e, ...pair }) => [
    names(comparison, pair).join(" − "),
    estimate(e.difference, (x) => points(x, metric)),
    `± ${points(e.margin, metric)}`,
    e.similar ? "yes" : "not shown",
  ]);
  const heads = ["Difference", `Confirmed, paired,${unitOf(metric)}`, "Margin", "Similar"];
  return rows.length ? ["Similar: the interval lies within one training's standard deviation over seeds", heads, rows] : null;
}

function good(comparison) {
  const { metric, arms, ranking, compared_at: done } = comparison;
  const splits = splitsOf(comparison);
  const show = (x) => objective(x, metric);
  const ends = (m, what) => [estimate(m[what].median, show), estimate(m[what].mean, show)];
  const rows = ranking.map((name) => arms[name]).map((m) => [
    `${m.label} (${m.dimensions})`,
    `${m.best_at_budget.n} of ${m.runs}`,
    ...splits.flatMap(([, what]) => ends(m, what)),
  ]);
  const heads = ["Arm (hyperparameters)", "Runs with a result"];
  const centres = splits.flatMap(([split]) => ["median", "mean"].map((middle) => `${capital(split)}, ${middle}`));
  return [`Best ${metric} after ${count(done, "trial")}, over the runs`, [...heads, ...centres], rows];
}

function apart(comparison) {
  const { metric, pairs } = comparison;
  if (!pairs.length) return null;
  const counts = (test) => `${test.a_better} better, ${test.equal} equal, ${test.b_better} worse`;
  const row = (pair, split, what, kind) => {
    const test = pair[what][kind];
    const better = kind === "paired" ? counts(test) : ["P(better) ", estimate(test.p_a_better, percent)].flat();
    const shift = estimate(test.hodges_lehmann, (x) => points(x, metric));
    return [names(comparison, pair).join(" − "), split, kind, shift, better, pValue(test.p), pValue(test.p_holm)];
  };
  const rows = pairs.flatMap((pair) =>
    splitsOf(comparison).flatMap(([split, what]) => ["paired", "unpaired"].map((kind) => row(pair, split, what, kind))),
  );
  const shift = `Hodges-Lehmann,${unitOf(metric)}`;
  const heads = ["Difference", "Split", "Runs", shift, "First better", "p", "Holm-adjusted p"];
  return ["Differences between the arms; the paired test is the analysis", heads, rows];
}

function targets(comparison) {
  if (comparison.target === null) return null;
  const { metric, pairs, compared_at: horizon } = comparison;
  const arms = Object.values(comparison.arms);
  const chosen = comparison.plateau ? ", declared" : ", the endpoint";
  const needed = ({ restricted_mean: mean, success_rate: rate }) => [estimate(mean, decimal), estimate(rate, percent)];
  const rows = arms[0].trials_to_target.map(({ target, share }, i) => [
    objective(target, metric),
    [`${percent(share)} of all runs`, share === comparison.target_share ? h("b", {}, chosen) : ""],
    ...arms.flatMap((m) => needed(m.trials_to_target[i])),
    ...pairs.map((pair) => estimate(pair.trials_to_target[i].difference, decimal)),
  ]);
  const heads = arms.flatMap((m) => [m.label, "reached it"]);
  const differences = pairs.map((pair) => names(comparison, pair).reverse().join(" − "));
  const title = `Mean trials to a target, counting at most ${horizon}, and the share of runs that reached it`;
  return [title, ["Target", "Reached by at least", ...heads, ...differences], rows];
}

function near({ metric, arms, pairs, plateau, compared_at: horizon, ...comparison }) {
  if (!plateau) return null;
  const there = Object.values(arms).filter((arm) => arm.trials_to_plateau);
  const rows = there.map(({ label, trials_to_plateau: { restricted_mean: mean, success_rate: rate } }) => [
    label,
    estimate(mean, decimal),
    estimate(rate, percent),
  ]);
  const differences = pairs.map((pair) => [
    `${names({ arms, ...comparison }, pair).reverse().join(" − ")}, trials`,
    estimate(pair.trials_to_plateau, decimal),
    "",
  ]);
  const by = `${points(plateau.margin, metric)}${unitOf(metric)}`;
  const where = `the plateau of ${arms[plateau.arm].label}, ${objective(plateau.value, metric)}`;
  const title = `Mean trials until a run's confirmed value is within ${by} of ${where}, counting at most ${horizon}`;
  return [title, ["Arm or difference", "Trials", "Reached it"], [...rows, ...differences]];
}

const extras = (comparison) => extraTrials(comparison, "extra_trials", "as the searcher saw it");
const extrasConfirmed = (comparison) => extraTrials(comparison, "extra_trials_confirmed", "confirmed");

function extraTrials({ arms, pairs, compared_at: horizon }, what, words) {
  const [reference] = Object.keys(arms);
  const found = pairs.flatMap((pair) => (pair[what] ?? []).filter((e) => e.reference === reference));
  const halfway = Math.floor((horizon + 1) / 2);
  const known = (found[0]?.by_trial ?? []).filter((entry) => entry.at_least !== null).map((entry) => entry.trial);
  const wanted = known.filter((n) => n === 1 || n === halfway || n === horizon || n % 5 === 0);
  if (!wanted.length) return null;
  const rows = wanted.map((n) => [String(n), ...found.map((e) => extra(e.by_trial[n - 1], e.level))]);
  const heads = found.map((e) => `${arms[e.arm].label}, ${e.curve} curve`);
  return [`Extra trials to reach what ${arms[reference].label} reaches after n, ${words}`, ["n", ...heads], rows];
}

// the declared endpoints first, then what the searcher saw
const PARTS = [climbs, similar, near, extrasConfirmed, good, apart, targets, extras];
