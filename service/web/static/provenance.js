// A study's provenance: code, versions, hardware, and the spec with every default filled in.

import { byId, h, setText, table } from "./element.js";
import { exact } from "./format.js";

let before = null;

export function showProvenance({ provenance, spec, created_at, started_at, finished_at }) {
  const shown = JSON.stringify([provenance, started_at, finished_at]);
  if (shown === before) return; // somebody may be reading it
  before = shown;
  const { continued = [], ...first } = provenance;
  const times = Object.entries({ created: created_at, started: started_at, finished: finished_at });
  const known = times.filter(([, at]) => at !== null).map(([what, at]) => [what, exact(at)]);
  const later = continued.map((values, i) => part(`Continued on (${i + 1})`, flat(values)));
  byId("origin").replaceChildren(...[part("Ran on", [...known, ...flat(first)]), ...later].flat());
  setText(byId("spec"), JSON.stringify(spec, null, 2));
}

const part = (title, rows) => [h("h3", {}, title), table(title, ["What", "Value"], rows, "plain facts-of")];

// null means that there is none, not that it is unknown
const NONE = /(^| )(teacher|data published|versions .*)$/;

function told(name, found) {
  if (found === null && NONE.test(name)) return [];
  const text = found === null ? "unknown" : name.endsWith("changes diff") ? "in the export" : String(found);
  return [[name, h("code", {}, text)]];
}

function flat(values, prefix = "") {
  return Object.entries(values).flatMap(([key, found]) =>
    found !== null && typeof found === "object" && !Array.isArray(found)
      ? flat(found, `${prefix}${key} `)
      : told(`${prefix}${key}`, found),
  );
}
