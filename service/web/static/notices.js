// Notices to the user: faults to see, changes for screen readers.

import { byId, h, setChildren } from "./element.js";

const shown = new Map();

/** Show what went wrong, until `settled` is called with the same key or the user dismisses it. */
export function trouble(key, error) {
  if (shown.get(key)?.words === error.message) return;
  const element = h(
    "div", { class: "problem" },
    h("p", {}, h("strong", {}, error.title ?? "Something went wrong"), " ", error.message),
    h("button", { type: "button", class: "quiet", onclick: () => settled(key) }, "Dismiss"),
  );
  shown.set(key, { words: error.message, element });
  render();
}

export function settled(key) {
  if (shown.delete(key)) render();
}

// the same fault of several requests is shown once
function render() {
  const different = new Map([...shown.values()].map(({ words, element }) => [words, element]));
  setChildren(byId("notices"), [...different.values()]);
}

/** Tell screen readers what has changed by itself. */
export function announce(text) {
  byId("announcements").textContent = text;
}

/** Show the state of the connection in the page's head. */
export function connection(state, words) {
  const live = byId("live");
  const before = live.hidden ? null : live.dataset.state;
  if (before === state) return;
  live.hidden = false;
  live.dataset.state = state;
  live.querySelector(".word").textContent = words;
  if (before !== null || state !== "live") announce(words);
}
