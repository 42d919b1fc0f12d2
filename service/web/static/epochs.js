// The epochs of a trial as two small charts: the metric on both splits, the training loss.

import { colour, CONFIG, layout, methodColour, plotly } from "./chart.js";
import { scaled, signOf } from "./format.js";

/** Draw the charts into `place`, in the colour of the study's arm number `i`. */
export async function drawEpochs(place, epochs, metric, i) {
  const Plotly = await plotly();
  const [ink, soft] = [methodColour(i), colour("soft")];
  const of = (key, unit) => epochs.map((epoch) => scaled(epoch[key], unit));
  const line = (name, y, style, axis = "") => ({
    x: epochs.map((epoch) => epoch.epoch), y, name, type: "scatter", mode: "lines+markers", line: style,
    marker: { size: 4, color: style.color }, xaxis: `x${axis}`, yaxis: `y${axis}`,
    hovertemplate: `${name} %{y:.4g}<extra>epoch %{x}</extra>`,
  });
  const traces = [
    line("validation", of("validation_metric", metric), { color: ink, width: 2 }),
    line("test", of("test_metric", metric), { color: soft, width: 1.5, dash: "5px,3px" }),
    line("loss", of("train_loss", ""), { color: soft, width: 1.5 }, "2"),
  ];
  const nticks = Math.min(epochs.length + 1, 6);
  const sign = signOf(metric) && ` (${signOf(metric)})`;
  const hoverlabel = { bgcolor: colour("surface"), bordercolor: colour("line-strong"), font: { color: colour("ink") } };
  const fitted = () => {
    const apart = Math.max(0.14, 76 / place.clientWidth); // room for the labels left of the second axis
    const [end, start] = [(1 - apart) / 2, (1 + apart) / 2];
    const epoch = (domain) => ({ title: { text: "Epoch" }, domain, tickformat: "d", nticks });
    const left = layout({ x: epoch([0, end]), y: { title: { text: `${metric}${sign}` } } });
    const right = layout({ x: epoch([start, 1]), y: { title: { text: "train loss" }, anchor: "x2" } });
    const note = (text, color, y) => ({
      text, x: end - 0.005, y, xref: "paper", yref: "paper", xanchor: "right", yanchor: "bottom", showarrow: false,
      font: { color, size: 11.5 },
    });
    const annotations = [note("validation ——", ink, 0.1), note("test - - -", soft, 0.01)];
    return { ...left, xaxis2: right.xaxis, yaxis2: right.yaxis, dragmode: false, annotations, hoverlabel };
  };
  let drawn = place.clientWidth;
  await Plotly.newPlot(place, traces, fitted(), CONFIG);
  new ResizeObserver(() => {
    if (place.clientWidth === drawn || !place.clientWidth) return;
    drawn = place.clientWidth;
    Plotly.react(place, traces, fitted(), CONFIG);
  }).observe(place);
}
