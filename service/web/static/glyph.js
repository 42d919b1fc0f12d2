// The mark of an arm, as in the figure.

import { h } from "./element.js";

// by the arms' order in the study, as in studies/results/figures.py: plotly.js's name, and the shape in a box of 12
const SHAPES = [
  ["circle", "M6 2.6a3.4 3.4 0 1 0 0 6.8a3.4 3.4 0 1 0 0-6.8z"],
  ["triangle-up", "M6 2l4 7.2h-8z"],
  ["square", "M2.8 2.8h6.4v6.4h-6.4z"],
  ["diamond", "M6 1.6l4.4 4.4l-4.4 4.4l-4.4-4.4z"],
  ["triangle-down", "M6 10l4-7.2h-8z"],
  ["cross", "M4.6 2h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6v-2.8h2.6z"],
  ["x", "M3.5 2l2.5 2.5l2.5-2.5l1.5 1.5l-2.5 2.5l2.5 2.5l-1.5 1.5l-2.5-2.5l-2.5 2.5l-1.5-1.5l2.5-2.5l-2.5-2.5z"],
  ["triangle-left", "M2 6l7.2-4v8z"],
  ["triangle-right", "M10 6l-7.2-4v8z"],
  ["pentagon", "M6 1.6L10.2 4.6L8.6 9.6L3.4 9.6L1.8 4.6z"],
  ["star", "M6 1L7.2 4.3L10.8 4.5L8 6.6L8.9 10L6 8.1L3.1 10L4 6.6L1.2 4.5L4.8 4.3z"],
  ["hexagon", "M6 1.8L9.6 3.9L9.6 8.1L6 10.2L2.4 8.1L2.4 3.9z"],
  ["diamond-tall", "M6 1l3 5l-3 5l-3-5z"],
];

/** Return the name of an arm's colour, in the style sheet and as a class. There are as many as shapes. */
export const look = (i) => `m${i % SHAPES.length}`;
export const symbol = (i) => SHAPES[i % SHAPES.length][0];

export function glyph(i) {
  const path = h("path", { d: SHAPES[i % SHAPES.length][1] });
  const box = { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" };
  return h("svg", { ...box, class: `glyph ${look(i)}` }, path);
}
