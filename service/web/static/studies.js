// The list of studies, read again every few seconds.

import { get } from "./api.js";
import { byId, h, setChildren, setText } from "./element.js";
import { ago, exact } from "./format.js";
import { connection, settled, trouble } from "./notices.js";
import { whileVisible } from "./pace.js";
import { at, HERE } from "./root.js";
import { progress, progressWords, restartOf, stateOf } from "./state.js";

const AGAIN = 2500; // milliseconds
const PART = 50; // studies
const form = byId("filters");
const rows = new Map(); // by id: the row, and what each of its cells shows
const before = []; // the cursors of the parts before this one
let cursor = null;
let next = null;

function filter() {
  const states = [...form.querySelectorAll("[name=state]:checked")].map((box) => box.value);
  return { state: states, task: form.elements.task.value, label: form.elements.label.value.trim() };
}

async function refresh() {
  const asked = JSON.stringify([filter(), cursor]);
  try {
    const page = await get(at("v1/studies"), { ...filter(), limit: PART, cursor });
    if (asked !== JSON.stringify([filter(), cursor])) return; // changed in the meantime, and requested again
    show(page);
    settled("list");
    connection("live", "live");
  } catch (error) {
    trouble("list", error);
    if (error.status === 0) connection("reconnecting", "reconnecting …");
  }
}

function show({ items, next: following }) {
  next = following;
  const { state, task, label } = filter();
  const filtered = Boolean(state.length || task || label);
  byId("clear").hidden = !filtered;
  byId("studies").hidden = !items.length;
  byId("none").hidden = items.length > 0 || filtered || cursor !== null;
  byId("nothing").hidden = items.length > 0 || !byId("none").hidden;
  byId("pager").hidden = !next && !before.length;
  byId("newer").disabled = !before.length;
  byId("older").disabled = !next;
  const many = items.length === 1 ? "1 study" : `${items.length} studies`;
  setText(byId("shown"), items.length ? `${many}${next ? ", and older ones" : ""}` : "");
  setChildren(byId("studies").tBodies[0], items.map(row));
  const shown = new Set(items.map((study) => study.id));
  for (const id of rows.keys()) if (!shown.has(id)) rows.delete(id);
}

// Make only those cells again that show something else.
function row(study) {
  if (!rows.has(study.id)) {
    const element = h("tr", { "data-study": study.id }, cells(study).map(([name], i) => cell(name, i === 0)));
    rows.set(study.id, { element, shown: [] });
  }
  const { element, shown } = rows.get(study.id);
  cells(study).forEach(([, what, content], i) => {
    const key = JSON.stringify(what);
    if (shown[i] === key) return;
    shown[i] = key;
    element.children[i].replaceChildren(...[content()].flat());
  });
  return element;
}

const cell = (name, head) => (head ? h("th", { class: name, scope: "row" }) : h("td", { class: name }));

/** Return for each cell: its class, its content as a JSON value, a function that makes what is shown. */
function cells(study) {
  const { trials, created_at: created } = study;
  const why = study.error ?? study.trouble;
  const restart = restartOf(study);
  const waits = restart && `starts again after ${exact(restart)}`;
  return [
    ["study", [study.name, study.labels], () => [link(study), digest(study), ...labels(study)]],
    ["state-of", [study.state, study.requested, why, waits], () => stateWith(study, why ?? waits)],
    ["done", trials, () => [progress(trials), h("span", { class: "counts" }, progressWords(trials))]],
    ["task", study.task_label, () => study.task_label],
    ["arms", study.arms, () => listed(study.arms)],
    ["number priority", study.priority, () => String(study.priority)],
    ["by", study.submitted_by, () => study.submitted_by ?? "–"],
    ["number created", ago(created), () => h("time", { datetime: created, title: exact(created) }, ago(created))],
  ];
}

const listed = (arms) => arms.flatMap((arm, i) => [i ? ", " : "", h("span", {}, arm)]);
const link = (study) => h("a", { href: at(`studies/${encodeURIComponent(study.id)}`) }, study.name);
const digest = (study) => h("span", { class: "id" }, study.id.slice(study.id.lastIndexOf("-") + 1));
const stateWith = (study, words) => h("span", { title: words }, stateOf(study));

function labels(study) {
  const only = (name) => () => {
    form.elements.label.value = name;
    restart();
  };
  const about = (name) => ({ type: "button", class: "label", title: `Show studies with the label ${name}` });
  return study.labels.map((name) => h("button", { ...about(name), onclick: only(name) }, name));
}

function restart() {
  before.length = 0;
  cursor = null;
  const query = new URLSearchParams();
  const { state, task, label } = filter();
  for (const each of state) query.append("state", each);
  for (const [name, value] of Object.entries({ task, label })) if (value) query.append(name, value);
  history.replaceState(null, "", at(query.size ? `?${query}` : ""));
  again();
}

function turn(older) {
  if (older) before.push(cursor);
  cursor = older ? next : before.pop();
  again();
}

for (const place of document.querySelectorAll("[data-here]")) setText(place, HERE);
const asked = new URLSearchParams(location.search);
for (const box of form.querySelectorAll("[name=state]")) box.checked = asked.getAll("state").includes(box.value);
form.elements.task.value = asked.get("task") ?? "";
form.elements.label.value = asked.get("label") ?? "";
form.addEventListener("change", restart);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  restart();
});
form.addEventListener("reset", () => setTimeout(restart));
byId("older").addEventListener("click", () => turn(true));
byId("newer").addEventListener("click", () => turn(false));
const again = whileVisible(AGAIN, refresh);
