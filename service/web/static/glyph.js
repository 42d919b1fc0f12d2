// The mark of a method, as in the figure.

import { h } from "./element.js";

// of the methods in the study's order, as studies/figures.py has them: plotly.js's name, and the shape in a box of 12
const SHAPES = [
  ["circle", "M6 2.6a3.4 3.4 0 1 0 0 6.8a3.4 3.4 0 1 0 0-6.8z"],
  ["triangle-up", "M6 2l4 7.2h-8z"],
  ["square", "M2.8 2.8h6.4v6.4h-6.4z"],
  ["diamond", "M6 1.6l4.4 4.4l-4.4 4.4l-4.4-4.4z"],
  ["triangle-down", "M6 10l4-7.2h-8z"],
  ["cross", "M4.6 2h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6v-2.8h2.6z"],
  ["x", "M3.5 2l2.5 2.5l2.5-2.5l1.5 1.5l-2.5 2.5l2.5 2.5l-1.5 1.5l-2.5-2.5l-2.5 2.5l-1.5-1.5l2.5-2.5l-2.5-2.5z"],
];

export const symbol = (i) => SHAPES[i % SHAPES.length][0];

export function glyph(i) {
  const path = h("path", { d: SHAPES[i % SHAPES.length][1] });
  const box = { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" };
  return h("svg", { ...box, class: `glyph m${i % SHAPES.length}` }, path);
}
