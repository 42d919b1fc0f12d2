// The tooltip beside the pointer.

import { byId, h } from "./element.js";

/** Show a title and `[name, value]` pairs near the point (x, y) of the window. */
export function showTip(x, y, title, rows) {
  const tip = byId("tip");
  tip.replaceChildren(
    h("strong", {}, title),
    h("dl", {}, rows.map(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
  );
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = x + 14 + width > innerWidth - 8 ? x - 14 - width : x + 14;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.min(Math.max(8, y - height / 2), innerHeight - height - 8)}px`;
}

export function hideTip() {
  byId("tip").hidden = true;
}
