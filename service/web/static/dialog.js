// The one dialog of a page: questions, forms, a trial.

import { byId, h } from "./element.js";

let ended = null; // called when the dialog closes

/** Show content under a title until it is closed, then call `closed`. The focus goes back to where it was. */
export function show(title, content, { wide = false, closed = () => {} } = {}) {
  const dialog = byId("dialog");
  ended?.(); // the new content replaces the old
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

/**
 * Ask before something that cannot be undone. Resolves to whether the user agrees. If `typed` is a text, the user has
 * to type it first.
 */
export function ask(title, text, action, typed = null) {
  return new Promise((resolve) => {
    const go = h("button", { value: "yes", class: "danger", disabled: typed !== null }, action);
    const leave = h("button", { type: "button", onclick: hide }, "Leave it"); // Return would press the first submit
    const input = h("input", { autocomplete: "off", spellcheck: "false" });
    input.addEventListener("input", () => (go.disabled = input.value !== typed));
    const field = typed !== null && h("label", { class: "field tall" }, h("span", {}, "Type ", h("b", {}, typed)), input);
    const form = h("form", { method: "dialog" }, h("p", {}, text), field, h("div", { class: "buttons" }, leave, go));
    show(title, form, { closed: (answer) => resolve(answer === "yes") });
  });
}
