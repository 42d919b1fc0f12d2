// plotly.js, which the page fetches when there is something to draw, and how a chart looks.

import { look } from "./glyph.js";

const plotlyUrl = document.querySelector("[data-plotly]")?.dataset.plotly;
// plotly.js writes its maps' style sheet into the page unless an element with this id, the sheet's digest, exists. The
// page's policy forbids the sheet, and no map needs it.
const MAP_STYLE = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";

// the only script that may be added to the page; browsers without trusted types take the plain address
const policy = globalThis.trustedTypes?.createPolicy("plotly", { createScriptURL: () => plotlyUrl });

let loading = null;

/** Fetch the Plotly object, once. */
export function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const meta = document.createElement("meta");
    meta.id = MAP_STYLE;
    const script = document.createElement("script");
    script.src = policy ? policy.createScriptURL("") : plotlyUrl;
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => {
      loading = null;
      script.remove();
      reject(new Error("The charts could not be loaded."));
    };
    document.head.append(meta, script);
  });
  return loading;
}

/** Return a colour of the style sheet; the arms' colours are m0, m1 and so on. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export const methodColour = (i) => colour(look(i));

export function faded(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

// on a touch screen a drag scrolls the page
export const TOUCH = matchMedia("(pointer: coarse)").matches;

/** Return the layout that all charts share; text and lines look like the page's. */
export function layout({ x, y, margin }) {
  const axis = {
    gridcolor: colour("grid"), linecolor: colour("line-strong"), zeroline: false, ticks: "outside", ticklen: 4,
    tickcolor: colour("line-strong"), tickfont: { size: 11.5, color: colour("soft") },
    title: { font: { size: 12.5, color: colour("ink") }, standoff: 8 }, automargin: true,
  };
  const join = (own) => ({ ...axis, ...own, title: { ...axis.title, ...own.title } });
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("ink") },
    margin: { l: 8, r: 10, t: 8, b: 8, ...margin },
    dragmode: TOUCH ? false : "zoom",
    uirevision: "kept", xaxis: join({ showgrid: false, showline: true, ...x }), yaxis: join(y),
  };
}

export const CONFIG = { displayModeBar: false, responsive: true, showTips: false, scrollZoom: false };

/** Call `redraw` when the page turns light or dark. */
export function onTheme(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
