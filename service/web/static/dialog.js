// The one dialog of a page: questions, forms, a trial.

import { byId, h } from "./element.js";

let ended = null; // what is to be done when the dialog closes

/** Show content under a title until it is closed; `closed` is told. The focus goes back to where it was. */
export function show(title, content, { wide = false, closed = () => {} } = {}) {
  const dialog = byId("dialog");
  ended?.(); // something else is shown in its place
  const close = h("button", { type: "button", class: "quiet close", "aria-label": "Close", onclick: hide }, "×");
  dialog.className = wide ? "wide" : "";
  dialog.replaceChildren(h("header", {}, h("h2", { id: "dialog-title" }, title), close), content);
  dialog.returnValue = "";
  ended = () => {
    ended = null;
    dialog.onclose = null;
    closed(dialog.returnValue);
  };
  dialog.onclose = ended;
  if (!dialog.open) dialog.showModal();
}

export const hide = () => byId("dialog").close();

/** Ask before something that cannot be taken back. Resolves to whether it is wanted. */
export function ask(title, text, action) {
  return new Promise((resolve) => {
    const buttons = [
      h("button", { value: "" }, "Leave it"),
      h("button", { value: "yes", class: "danger" }, action),
    ];
    const form = h("form", { method: "dialog" }, h("p", {}, text), h("div", { class: "buttons" }, buttons));
    show(title, form, { closed: (answer) => resolve(answer === "yes") });
  });
}
