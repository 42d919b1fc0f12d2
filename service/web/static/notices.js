// What is said to the user: faults in sight, changes to who listens.

import { byId, h, setChildren } from "./element.js";

const shown = new Map();

/** Say in words what went wrong, until `settled` with the same key or dismissed. */
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

// what several requests ran into is said once
function render() {
  const different = new Map([...shown.values()].map(({ words, element }) => [words, element]));
  setChildren(byId("notices"), [...different.values()]);
}

/** For screen readers: what has changed without anybody having asked. */
export function announce(text) {
  byId("announcements").textContent = text;
}

/** The state of the connection, in the page's head. */
export function connection(state, words) {
  const live = byId("live");
  const before = live.hidden ? null : live.dataset.state;
  if (before === state) return;
  live.hidden = false;
  live.dataset.state = state;
  live.querySelector(".word").textContent = words;
  if (before !== null || state !== "live") announce(words);
}
