// The events of a study, each once and in order, whatever happens to the connection.

import { get } from "./api.js";

export const KINDS = ["state", "request", "trial", "confirmation", "edit"];
const FIRST_PAUSE = 300; // milliseconds before the first try to reconnect
const LONGEST_PAUSE = 4000;

export class Stream {
  #source = null;
  #timer = null;
  #pause = FIRST_PAUSE;
  #gone = false;

  /**
   * Listen from the event after number `after`. `event` gets each event, `status` gets "live", "reconnecting", or
   * "gone" if the study no longer exists.
   */
  constructor(path, after, { event, status }) {
    Object.assign(this, { path, last: after, event, status });
    // browsers allow six connections per host, so the connection of a hidden page is closed
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    addEventListener("pagehide", () => this.close());
    if (!document.hidden) this.open();
  }

  open() {
    this.close();
    if (this.#gone) return;
    const source = new EventSource(`${this.path}/events?after=${this.last}`);
    this.#source = source;
    source.onopen = () => {
      this.#pause = FIRST_PAUSE;
      this.status("live");
    };
    source.onerror = () => this.#lost();
    for (const kind of KINDS) source.addEventListener(kind, (message) => this.#take(JSON.parse(message.data)));
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #take(event) {
    if (event.number <= this.last) location.reload(); // deleted, and submitted again under the same id
    this.last = event.number;
    this.event(event);
  }

  // The browser's own reconnecting ends at the first response that is not a stream, so this does all of it.
  #lost() {
    this.close();
    this.status("reconnecting");
    this.#timer = setTimeout(async () => {
      try {
        await get(this.path);
        this.open();
      } catch (error) {
        this.#gone = error.status === 404;
        if (this.#gone) this.status("gone");
        else this.#lost();
      }
    }, this.#pause);
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
  }
}
