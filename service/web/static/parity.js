// The parity audit: what was equal between the arms, and what each was given.

import { byId, h, setText, table } from "./element.js";
import { count, range, seconds } from "./format.js";

const GIVEN = {
  dimensions: "hyperparameters searched",
  initial_trials: "trials per run without a model",
  model_based_trials: "trials per run chosen by the model",
  completed: "completed trials",
  diverged: "diverged trials",
  failed: "failed trials",
  retries: "retries",
};
const TIMES = { suggest_seconds: "time to suggest, median", train_seconds: "time to train, median" };

export function showParity({ comparison: { arms, parity } }) {
  const unequal = parity.filter((check) => !check.equal).length;
  const note = byId("parity-note");
  setText(note, unequal ? `${unequal} of ${count(parity.length, "check")} unequal` : "all equal");
  note.classList.toggle("bad", unequal > 0);
  const labels = Object.values(arms).map((m) => m.label);
  const verdict = (check) => (check.equal ? "equal" : h("b", { class: "bad" }, "not equal"));
  const values = (check) => Object.keys(arms).map((name) => shown(check.values[name]));
  const checks = parity.map((check) => [check.what, verdict(check), ...values(check)]);
  const line = (show) => ([key, words]) => [words, ...Object.values(arms).map((m) => show(m[key]))];
  const given = [...Object.entries(GIVEN).map(line(String)), ...Object.entries(TIMES).map(line(seconds))];
  const spaces = Object.values(arms).flatMap((m) =>
    Object.entries(m.hyperparameters).map(([key, entry]) => [m.label, key, range(entry)]),
  );
  const titled = (title, ...rest) => h("div", {}, h("h3", {}, title), table(title, ...rest));
  byId("audit").replaceChildren(
    table("What is equal between the arms", ["Check of the records", "Equal", ...labels], checks),
    h(
      "div", { class: "halves" },
      titled("What each arm was given, and how its trials ended", ["What", ...labels], given),
      titled("Search spaces", ["Arm", "Hyperparameter", "Values"], spaces),
    ),
  );
}

function shown(value) {
  if (value === undefined) return "–";
  return typeof value === "object" ? range(value) : String(value);
}
