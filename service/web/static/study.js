// A study's page: what it loads, and what each event changes.

import { get } from "./api.js";
import { onTheme, plotly } from "./chart.js";
import { showComparison } from "./comparison.js";
import { Curves } from "./curves.js";
import { byId } from "./element.js";
import { Figure, press } from "./figure.js";
import { seconds } from "./format.js";
import { Head } from "./head.js";
import { History } from "./history.js";
import { announce, connection, settled, trouble } from "./notices.js";
import { showOutput } from "./output.js";
import { atMost, whileVisible } from "./pace.js";
import { Parallel } from "./parallel.js";
import { showParity } from "./parity.js";
import { showProvenance } from "./provenance.js";
import { Readings } from "./readings.js";
import { at } from "./root.js";
import { Signs } from "./signs.js";
import { Stream } from "./stream.js";
import { TrialView } from "./trial.js";
import { TrialTable } from "./trials.js";
import { TrialSet, trialId } from "./trialset.js";

const PACE = 50; // the last trials, from which the time left is estimated
const AGAIN = 3000; // milliseconds, after a refusal
const DELETED = { title: "Deleted", message: "This study no longer exists; this page shows its last state." };

class StudyPage {
  #byRank = false;
  #selections = new Map(); // by arm, the ids selected on its axes
  #said = null; // the state that was announced last

  constructor(path, study) {
    this.path = path;
    this.study = study;
    this.curves = null; // they take longer than the rest; until they arrive there is no figure
    this.comparison = null;
    this.plots = [];
    this.trials = new TrialSet(path, {
      changed: () => this.#trialsCame(),
      fault: (error) => (error ? trouble("trials", error) : settled("trials")),
    });
    this.table = new TrialTable(study, this.trials, (id) => this.view.show(id));
    this.view = new TrialView(study, path, this.trials, this.table.step);
    this.history = new History(path, study.last_event);
    this.head = new Head(path, (newer) => this.#take(newer));
    this.axes = atMost(500, () => this.plots.forEach((plot) => plot.show(this.trials.of(plot.arm), this.#byRank)));
    byId("space-controls").replaceChildren(press("by rank", false, (on) => this.#rank(on)));
    onTheme(this.axes);
    this.askStudy = this.#asking("study", 500, "", (newer) => this.#take(newer));
    this.askCurves = this.#asking("curves", 1000, "/curves", (newer) => this.#curvesCame(newer));
    this.askComparison = this.#asking("comparison", 10_000, "/comparison", (newer) => this.#comparisonCame(newer));
    this.askSigns = () => {};
    if (study.spec.record?.signs) {
      const signs = new Signs();
      this.askSigns = this.#asking("signs", 10_000, "/differing-signs", (newer) => {
        signs.show(newer);
        if (newer.last_event < this.stream.last) this.askSigns();
      });
      onTheme(() => signs.draw());
    }
    this.stream = new Stream(path, study.last_event, {
      event: (event) => this.#happened(event),
      status: (status) => this.#connected(status),
    });
    this.#take(study);
    this.askCurves();
    this.askSigns();
    plotly().catch(() => {}); // the figure reports a fault
    showOutput(path);
    this.#watch();
  }

  #draw(answer) {
    const { study } = this;
    this.curves = new Curves(answer, study.spec);
    this.readings = new Readings(this.curves, this.trials, study, this.view.open);
    if (this.comparison) this.readings.compare(this.comparison);
    this.figure = new Figure(this.curves, (...which) => this.trials.get(...which), this.view.open);
    this.plots = study.arms.map((name, i) => this.#plot(name, i));
    byId("parallel").replaceChildren(...this.plots.map((plot) => plot.element));
    this.axes();
  }

  #plot(name, i) {
    const selected = (ids) => {
      if (ids) this.#selections.set(name, ids);
      else this.#selections.delete(name);
      const all = [...this.#selections.values()].flatMap((set) => [...set]);
      this.table.select(this.#selections.size ? new Set(all) : null);
    };
    const open = (id) => this.view.show(id);
    return new Parallel(this.study, i, this.curves.arms.get(name).label, { open, selected });
  }

  #rank(on) {
    this.#byRank = on;
    this.axes();
  }

  /** Return a function that requests what events have made outdated, soon and not too often. */
  #asking(key, milliseconds, way, take) {
    const ask = atMost(milliseconds, async () => {
      try {
        take(await get(`${this.path}${way}`));
        settled(key);
      } catch (error) {
        if (error.status === undefined) throw error;
        if (error.status === 0) return; // the connection's state shows this, and all is requested again once it is back
        trouble(key, error);
        if (error.status !== 404) setTimeout(ask, AGAIN);
      }
    });
    return ask;
  }

  #take(newer) {
    const { study } = this;
    if (newer.last_event < study.last_event) return this.askStudy(); // an event overtook this answer
    Object.assign(study, newer);
    this.#showHead();
    showProvenance(study);
  }

  #curvesCame(newer) {
    if (this.curves === null) this.#draw(newer);
    else this.curves.update(newer);
    this.figure.draw();
    this.readings.show();
    if (newer.last_event < this.stream.last) this.askCurves(); // those of a running study may be slightly old
  }

  #comparisonCame(newer) {
    this.comparison = newer.comparison;
    showComparison(newer);
    showParity(newer);
    this.readings?.compare(this.comparison);
    if (newer.last_event < this.stream.last) this.askComparison();
  }

  #trialsCame() {
    this.table.show();
    this.view.tableChanged();
    this.axes();
    this.readings?.show();
    this.#showHead();
  }

  #showHead() {
    this.head.left = this.#left();
    this.head.show(this.study);
    const { state } = this.study;
    if (state === this.#said) return;
    if (this.#said !== null) announce(`The study is ${state}.`);
    this.#said = state;
    this.askComparison.now(); // once a study has ended, this is the last one
  }

  /** Return about how long the remaining trials take, by the pace of the last ones; null if unknown. */
  #left() {
    if (this.study.state !== "running") return null;
    const { completed, diverged, failed, planned } = this.study.trials;
    const ends = [...this.trials.all.values()].map((trial) => Date.parse(trial.finished_at));
    const last = ends.sort((a, b) => a - b).slice(-PACE);
    const took = (last.at(-1) - last[0]) / 1000;
    if (last.length < 10 || !took) return null;
    return `about ${seconds((took / (last.length - 1)) * (planned - completed - diverged - failed))}`;
  }

  #happened(event) {
    this.history.add(event);
    const { study } = this;
    const { kind, data } = event;
    const newer = event.number > study.last_event;
    if (newer) study.last_event = event.number;
    if (kind === "trial") return this.#trialFinished(data, newer);
    if (kind === "confirmation") {
      this.askCurves();
      return this.askComparison();
    }
    if (newer && kind === "state") {
      study.state = data.to;
      this.#showHead();
    }
    if (kind === "edit") this.askComparison(); // the edit may be of what papers published
    this.askStudy();
  }

  #trialFinished(data, newer) {
    if (newer) {
      this.study.trials[data.state] += 1;
      this.#showHead();
    }
    this.trials.expect(trialId(data.arm, data.run, data.trial));
    if (this.curves?.add(data)) this.figure.draw();
    this.readings?.show();
    this.askCurves();
    this.askComparison();
    this.askSigns();
  }

  #connected(status) {
    if (status === "reconnecting") return connection(status, "reconnecting …");
    if (status === "live") {
      connection(status, "live");
      settled("action"); // an action that got no answer
      this.askStudy();
      this.askCurves();
      this.askComparison();
      this.askSigns();
      return;
    }
    connection(status, "deleted");
    trouble("gone", DELETED);
  }

  /** Keep relative times ("5 min ago") up to date, and reopen a stream that died without an error. */
  #watch() {
    let last = 0;
    whileVisible(20_000, async () => {
      this.#showHead();
      if (last > this.stream.last) this.stream.open();
      last = await get(this.path).then((now) => now.last_event, () => 0);
    });
  }
}

async function start() {
  const path = at(`v1/studies/${encodeURIComponent(byId("study").dataset.study)}`);
  try {
    const study = await get(path);
    settled("page");
    new StudyPage(path, study);
  } catch (error) {
    if (error.status === undefined) throw error;
    trouble("page", error);
    setTimeout(start, AGAIN);
  }
}

start();
