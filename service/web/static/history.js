// What happened to a study, and who asked for it; trials are counted, not listed.

import { byId, h, table } from "./element.js";
import { count, exact } from "./format.js";
import { atMost } from "./pace.js";
import { KINDS } from "./stream.js";

export class History {
  #events = new Map(); // by number

  /** `last` is the number of the study's last event when the page was loaded. */
  constructor(path, last) {
    Object.assign(this, { path, last, details: byId("events") });
    this.show = atMost(500, () => this.#show());
    this.details.addEventListener("toggle", () => this.#read(), { once: true });
  }

  add(event) {
    this.#events.set(event.number, event);
    if (this.details.open) this.show();
  }

  // The events from before the page was opened come from a separate stream, which ends once they have arrived.
  #read() {
    this.show();
    if (!this.last) return;
    const source = new EventSource(`${this.path}/events?after=0`);
    const take = (message) => {
      const event = JSON.parse(message.data);
      if (event.number <= this.last) this.add(event);
      if (event.number >= this.last) source.close();
    };
    for (const kind of KINDS) source.addEventListener(kind, take);
  }

  #show() {
    const all = [...this.#events.values()].sort((a, b) => b.number - a.number);
    const of = (kind) => all.filter((event) => event.kind === kind).length;
    const told = all.filter(({ kind }) => kind !== "trial" && kind !== "confirmation");
    const confirmed = of("confirmation") ? ` and ${count(of("confirmation"), "confirmation")}` : "";
    const time = (at) => h("time", { datetime: at }, exact(at));
    const rows = told.map((event) => [String(event.number), time(event.time), event.actor, words(event)]);
    this.details.querySelector("div").replaceChildren(
      table("Events, latest first", ["Number", "When", "Who", "What"], rows),
      h("p", { class: "note" }, `and ${count(of("trial"), "finished trial")}${confirmed}`),
    );
  }
}

function words({ kind, data }) {
  if (kind === "request") return data.requested ? `asked to ${data.requested}` : "asked to continue";
  const reason = data.reason ? `: ${data.reason}` : "";
  if (kind === "state") return `${data.from ? `${data.from} → ` : ""}${data.to}${reason}`;
  const shown = (value) => (Array.isArray(value) ? value.join(", ") || "none" : value);
  return Object.entries(data).map(([key, value]) => `${key}: ${shown(value)}`).join("; ");
}
