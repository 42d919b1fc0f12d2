// The form for the parts of a study that may change.

import { send } from "./api.js";
import { hide, show } from "./dialog.js";
import { h } from "./element.js";
import { announce } from "./notices.js";

export function edit(path, study, changed) {
  const name = h("input", {
    value: study.name, required: true, maxlength: 63, pattern: "[a-z0-9]([a-z0-9\\-]*[a-z0-9])?",
    title: "lower-case letters, digits and inner hyphens",
  });
  const labels = h("input", { value: study.labels.join(", "), placeholder: "paper, team:edge" });
  const priority = h("input", { type: "number", min: -100, max: 100, step: 1, value: study.priority, required: true });
  const field = (words, input) => h("label", { class: "field tall" }, h("span", {}, words), input);
  const fault = h("div", { role: "alert" });
  const form = h(
    "form", {},
    field("Name", name),
    field("Labels, separated by commas", labels),
    field("Priority, higher first", priority),
    fault,
    h(
      "div", { class: "buttons" },
      h("button", { type: "button", onclick: hide }, "Leave it"),
      h("button", { class: "main" }, "Save"),
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = {
      name: name.value,
      labels: labels.value.split(",").map((text) => text.trim()).filter(Boolean),
      priority: Number(priority.value),
    };
    try {
      changed(await send("PATCH", path, wanted));
      hide();
      announce("Saved");
    } catch (error) {
      const faults = (error.faults ?? []).map((each) => h("li", {}, h("code", {}, each.field), " ", each.message));
      const text = faults.length ? h("ul", {}, faults) : h("p", {}, error.message);
      fault.replaceChildren(h("div", { class: "problem" }, text));
    }
  });
  show("Edit", form);
}
