// What was recorded in a trial's first training: a chart of one series at a time, and images.

import { colour, CONFIG, layout, methodColour, plotly } from "./chart.js";
import { h } from "./element.js";
import { toNumber } from "./format.js";

const WORDS = { flip_ratio: "flip ratio", original: "original", noisy: "with noise", recovered: "recovered" };
const words = (name) => WORDS[name] ?? name;

/** Return elements with the series, drawn once they are in the page, in the colour of the study's arm number `i`. */
export function recorded(series, i) {
  const first = series.filter((each) => each.repeat === 1);
  const numbers = first.filter((each) => each.values);
  const images = first.filter((each) => each.shape.length === 4);
  const parts = [];
  if (numbers.length) {
    const place = h("div", { class: "chart small", role: "img", "aria-label": "What was recorded by step" });
    const options = numbers.map((each, n) => h("option", { value: n }, words(each.name)));
    const choice = h("select", { onchange: () => draw(place, numbers[choice.value], i) }, options);
    parts.push(h("label", {}, "By step ", choice), place);
    requestAnimationFrame(() => draw(place, numbers[0], i));
  }
  if (images.length) parts.push(h("div", { class: "sheet" }, images.flatMap(sheet)));
  return parts.length ? [h("h3", {}, "Recorded"), ...parts] : [];
}

async function draw(place, { name, steps, values }, i) {
  const Plotly = await plotly();
  const trace = {
    x: steps, y: values.map(toNumber), type: "scatter", mode: "lines", line: { color: methodColour(i), width: 1.5 },
    hovertemplate: "%{y:.4g}<extra>step %{x}</extra>",
  };
  const own = layout({ x: { title: { text: "Step" } }, y: { title: { text: words(name) } } });
  const hoverlabel = { bgcolor: colour("surface"), bordercolor: colour("line-strong"), font: { color: colour("ink") } };
  await Plotly.react(place, [trace], { ...own, dragmode: false, hoverlabel }, CONFIG);
}

/** Return a row of images, the last ones recorded, after the series' name. */
function sheet({ name, shape: [count, channels, height, width], rows }) {
  const bytes = Uint8Array.from(rows.at(-1).match(/../g), (digits) => Number.parseInt(digits, 16));
  const size = height * width;
  const images = Array.from({ length: count }, (_, n) => {
    const canvas = h("canvas", { width, height, role: "img", "aria-label": `Image ${n + 1}, ${words(name)}` });
    const pixels = new Uint8ClampedArray(4 * size).fill(255);
    for (let at = 0; at < size; at++)
      for (let c = 0; c < 3; c++) pixels[4 * at + c] = bytes[(n * channels + Math.min(c, channels - 1)) * size + at];
    canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    return canvas;
  });
  return [h("span", {}, words(name)), h("div", {}, images)];
}
