// The head of a study's page: what the study is, how far it is, what can be done with it.

import { get, send } from "./api.js";
import { ask } from "./dialog.js";
import { edit } from "./edit.js";
import { byId, h, Kept, pairs, setChildren, setText } from "./element.js";
import { ago, count, exact, seconds } from "./format.js";
import { settled, trouble } from "./notices.js";
import { at } from "./root.js";
import { ACTIVE, progress, progressWords, restartOf, stateOf } from "./state.js";

const QUESTIONS = {
  "pause-now": [
    "Stop the trials in flight?",
    "They are discarded, and trained again with the same hyperparameters when the study is resumed.",
    "Pause now",
  ],
  cancel: [
    "Cancel this study?",
    "Its trials in flight are discarded. Its finished trials are kept, and the study can be resumed.",
    "Cancel the study",
  ],
};
const gone = ({ name, trials: { completed, diverged, failed } }) => [
  `Delete ${name}?`,
  `This deletes the study and its ${count(completed + diverged + failed, "trial")}, and cannot be undone.`,
  "Delete",
  name,
];
const PAUSE = ["pause", "Pause"];
const PAUSE_NOW = ["pause-now", "Pause now"];
const CANCEL = ["cancel", "Cancel"];
const RESUME = ["resume", "Resume"];
const GO_ON = ["resume", "Keep running"];
const DELETE = ["delete", "Delete"];
const EDIT = ["edit", "Edit"];
const BY_STATE = {
  queued: [PAUSE, CANCEL],
  paused: [RESUME, CANCEL],
  completed: [DELETE],
  failed: [RESUME, CANCEL, DELETE],
  cancelled: [RESUME, DELETE],
};
const BY_REQUEST = {
  null: [PAUSE, PAUSE_NOW, CANCEL],
  pause: [GO_ON, PAUSE_NOW, CANCEL],
  "pause-now": [GO_ON, CANCEL],
  cancel: [GO_ON],
};

/** Return what the user may do with a study, as [action, words]. */
function actions(study) {
  const { scope } = document.body.dataset;
  const possible = ACTIVE.includes(study.state) ? BY_REQUEST[study.requested] : BY_STATE[study.state];
  return [...possible, EDIT].filter(([action]) => scope === "admin" || (scope === "submit" && action !== "delete"));
}

export class Head {
  #kept = new Kept();

  /** `changed` gets the study as it is after an action. */
  constructor(path, changed) {
    Object.assign(this, { path, changed, left: null });
  }

  show(study) {
    this.study = study;
    const { name, state, requested, error, trials } = study;
    const done = trials.completed + trials.diverged + trials.failed;
    setText(byId("name"), name);
    document.title = `${done === trials.planned ? "" : `${done}/${trials.planned} `}${name} · tunebench`;
    setChildren(byId("state"), [this.#kept.get("state", [state, requested], () => stateOf(study))]);
    setChildren(byId("actions"), actions(study).map((action) => this.#button(...action)));
    const failure = () => h("div", { class: "problem" }, h("strong", {}, "Why it failed"), h("pre", {}, error));
    setChildren(byId("failure"), error === null ? [] : [this.#kept.get("failure", error, failure)]);
    const facts = this.#facts().filter(([, shown]) => shown !== null && shown !== undefined);
    const fact = ([key, shown, content]) => this.#kept.get(key, shown, () => pairs([[key, content?.() ?? shown]])[0]);
    setChildren(byId("facts"), facts.map(fact));
  }

  #button(action, words) {
    return this.#kept.get(`${action} ${words}`, null, () => {
      const danger = action === "delete" || action === "cancel";
      const button = h("button", { type: "button", class: danger ? "danger" : null }, words);
      button.addEventListener("click", () =>
        action === "edit" ? edit(this.path, this.study, this.changed) : this.#do(action, button),
      );
      return button;
    });
  }

  async #do(action, button) {
    const question = action === "delete" ? gone(this.study) : QUESTIONS[action];
    if (question && !(await ask(...question))) return;
    button.disabled = true;
    try {
      if (action === "delete") {
        await send("DELETE", this.path);
        location.assign(at(""));
        return;
      }
      const way = action === "pause-now" ? "pause?now=true" : action;
      this.changed(await send("POST", `${this.path}/${way}`));
      settled("action");
    } catch (error) {
      trouble("action", error);
      get(this.path).then(this.changed, () => {}); // its state may not be the one that is shown
    } finally {
      button.disabled = false;
      if (!button.isConnected) byId("actions").querySelector("button")?.focus();
    }
  }

  /** Return the facts: a name, the value that it depends on and, if that is not the text to show, how to show it. */
  #facts() {
    const { study } = this;
    const time = (at) => at && [ago(at), () => h("time", { datetime: at, title: exact(at) }, ago(at))];
    const budget = [count(study.arms.length, "arm"), count(study.runs, "run"), count(study.budget, "trial")];
    const [submitted, submittedTime] = time(study.created_at);
    const took = study.finished_at && study.started_at && new Date(study.finished_at) - new Date(study.started_at);
    const restart = restartOf(study);
    return [
      ["Study", study.id, () => h("code", {}, study.id)],
      ["Task", study.task_label],
      ["Budget", budget.join(" × ")],
      ["Searcher", study.searcher],
      ["Trials", study.trials, () => [progress(study.trials), progressWords(study.trials)]],
      ["Priority", String(study.priority)],
      ["Labels", study.labels.length ? study.labels : null, () => study.labels.map(label)],
      ["Submitted", [submitted, study.submitted_by], () => [by(study.submitted_by), submittedTime()]],
      ["Started", ...(time(study.started_at) ?? [null])],
      ["Took", took ? seconds(took / 1000) : null],
      ["Time left", this.left],
      ["Trouble", study.trouble],
      ["Starts again", restart ? `${exact(restart)}, attempt ${study.attempts + 1}` : null],
      ["Ray job", study.job && [study.job, study.dashboard], () => job(study)],
    ];
  }
}

const by = (name) => (name === null ? "" : `by ${name}, `);
const label = (name) => h("a", { class: "label", href: at(`?label=${encodeURIComponent(name)}`) }, name);
const job = (study) => (study.dashboard ? h("a", { href: study.dashboard }, study.job) : h("code", {}, study.job));
