// The end of the job's output, read again while it is open.

import { getText } from "./api.js";
import { byId, h, setText } from "./element.js";
import { whileVisible } from "./pace.js";

const LINES = 200;

export function showOutput(path) {
  const details = byId("output");
  const text = h("pre", { class: "output", tabindex: 0 });
  const note = h("p", { class: "note" });
  details.querySelector("div").append(note, text);
  const read = whileVisible(3000, async () => {
    if (!details.open) return;
    try {
      const tail = await getText(`${path}/logs`, { tail: LINES });
      const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 8;
      setText(text, tail);
      setText(note, tail ? `The last ${LINES} lines.` : "The job has printed nothing yet.");
      if (atEnd) text.scrollTop = text.scrollHeight;
    } catch (error) {
      setText(note, error.message);
    }
  });
  details.addEventListener("toggle", read);
}
