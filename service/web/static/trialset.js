// All finished trials of a study, kept up to date.

import { get } from "./api.js";
import { atMost } from "./pace.js";

const PAGE = 1000; // the most that the service returns at once

export const trialId = (arm, run, trial) =>
  `${arm}-r${String(run).padStart(2, "0")}-t${String(trial).padStart(2, "0")}`;

export class TrialSet {
  /** `changed` is called whenever trials have arrived; `fault` gets what went wrong, null once that is over. */
  constructor(path, { changed, fault }) {
    this.path = `${path}/trials`;
    this.all = new Map(); // by id; a finished trial does not change
    this.loaded = false;
    this.changed = changed;
    this.fault = fault;
    this.missing = new Set(); // ids known only from events
    this.fetchMissing = atMost(700, () => this.#attempt(() => this.#newest()));
    this.load();
  }

  get(arm, run, trial) {
    return this.all.get(trialId(arm, run, trial));
  }

  of(arm) {
    return [...this.all.values()].filter((trial) => trial.arm === arm);
  }

  /** Note that a trial has finished, and fetch it if it is missing. */
  expect(id) {
    if (this.all.has(id)) return;
    this.missing.add(id);
    if (this.loaded) this.fetchMissing();
  }

  async load() {
    await this.#attempt(async () => {
      await this.#pages({ sort: "number" }, () => true);
      this.loaded = true;
      this.changed();
    });
    if (!this.loaded) setTimeout(() => this.load(), 2000);
    else if (this.missing.size) this.fetchMissing();
  }

  // The missing trials are among the last to finish.
  #newest() {
    return this.#pages({ sort: "finished_at", order: "desc" }, () => this.missing.size > 0);
  }

  async #pages(order, wanted) {
    let cursor = null;
    do {
      const few = this.missing.size && this.loaded ? Math.min(PAGE, this.missing.size + 20) : PAGE;
      const page = await get(this.path, { ...order, limit: few, cursor });
      for (const trial of page.items) {
        this.all.set(trial.id, trial);
        this.missing.delete(trial.id);
      }
      this.changed();
      cursor = page.next;
    } while (cursor && wanted());
  }

  async #attempt(work) {
    try {
      await work();
      this.fault(null);
    } catch (error) {
      this.fault(error);
      if (this.loaded) setTimeout(this.fetchMissing, 2000);
    }
  }
}
