// The endpoints as dots with their intervals, each kind on an axis of its own.

import { steps } from "./axis.js";
import { byId, h } from "./element.js";
import { level, objective, points, toNumber, unitOf } from "./format.js";
import { glyph, look } from "./glyph.js";

/** Show the plots of a comparison; `splits` are pairs of a name and a key of the comparison's arms and pairs. */
export function showForest(comparison, splits) {
  const { metric, arms, pairs, ranking } = comparison;
  const place = Object.keys(arms);
  const medians = ranking.map((name) => {
    const i = place.indexOf(name);
    return { arm: arms[name], mark: glyph(i), colour: look(i) };
  });
  const good = splits.flatMap(([split, what]) =>
    medians.map(({ arm, mark, colour }) => ({
      words: `${arm.label}, ${split}`, estimate: arm[what].median, mark: mark.cloneNode(true), colour,
    })),
  );
  const name = ({ a, b }) => `${arms[a].label} − ${arms[b].label}`;
  const apart = splits.flatMap(([split, what]) =>
    pairs.map((pair) => ({
      words: pairs.length > 1 ? `${name(pair)}, ${split}` : split, estimate: pair[what].paired.hodges_lehmann,
      mark: h("span", { class: "dot" }), colour: "",
    })),
  );
  const between = pairs.length === 1 ? name(pairs[0]) : "Differences";
  const plots = comparison.compared_at
    ? [
        plot(`Median run's best ${metric}`, good, (x) => objective(x, metric), []),
        plot(`${between}, run by run,${unitOf(metric)}`, apart, (x) => points(x, metric), [0]),
      ]
    : [];
  byId("forest").replaceChildren(...plots.filter(Boolean));
}

/** Return one plot, null without a value; its axis always shows the values `always`. */
function plot(title, rows, show, always) {
  const ends = rows.flatMap(({ estimate: e }) => [e.value, e.low, e.high]).map(toNumber).filter(Number.isFinite);
  if (!ends.length) return null;
  const [least, most] = [Math.min(...ends, ...always), Math.max(...ends, ...always)];
  const margin = 0.06 * (most - least) || 0.01 * Math.abs(most) || 1;
  const [low, high] = [least - margin, most + margin];
  const at = (x) => `${100 * Math.min(1, Math.max(0, (toNumber(x) - low) / (high - low)))}%`;
  const place = (name, x, ...content) => h("span", { class: name, style: { left: at(x) } }, ...content);
  const row = ({ words, estimate: e, mark, colour }) => {
    const bounded = e.low !== null && e.high !== null;
    const interval = bounded ? ` (${level(e.level)} interval ${show(e.low)} to ${show(e.high)})` : "";
    const text = e.value === null ? "none" : `${show(e.value)}${interval}`;
    const whisker = bounded ? place("whisker", e.low) : null;
    whisker?.style.setProperty("right", `calc(100% - ${at(e.high)})`);
    const dot = e.value === null ? null : place("at", e.value, mark);
    const zero = always.map((x) => place("zero", x));
    const track = h("span", { class: `track ${colour}`, title: text }, zero, whisker, dot);
    return [h("span", { class: "words" }, words, h("span", { class: "unseen" }, `: ${text}`)), track];
  };
  const ticks = steps(low, high).map((x) => place("", x, show(x)));
  const axis = h("span", { class: "ticks", "aria-hidden": "true" }, ticks);
  return h("figure", { class: "forest" }, h("figcaption", {}, title), rows.map(row), axis);
}
