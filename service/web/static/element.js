// Making elements. Data from outside becomes a text node or an attribute, never markup.

const SVG = new Set(["svg", "path", "line", "rect"]);

/** Return an element with attributes (`onclick` and the like are listeners, `style` is a mapping) and children. */
export function h(tag, attributes = {}, ...children) {
  const element = SVG.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Change a text only if it differs, so that nothing flickers and no selection is lost. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show exactly these children, leaving those already in place; the focus stays. */
export function setChildren(parent, children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  children.forEach((child, i) => {
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
  });
  while (parent.children.length > children.length) parent.lastElementChild.remove();
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

/** Elements that are made again only when what they show has changed. */
export class Kept {
  #known = new Map();

  /** Return the element of this name, made by `make` if it does not yet show `shown`, any JSON value. */
  get(name, shown, make) {
    const key = JSON.stringify(shown);
    if (this.#known.get(name)?.key !== key) this.#known.set(name, { key, element: make() });
    return this.#known.get(name).element;
  }
}

// elements that scroll can be reached with the keyboard; Tab skips the others
const scrolling = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const { scrollWidth, clientWidth, scrollHeight, clientHeight } = target;
    target.tabIndex = scrollWidth > clientWidth || scrollHeight > clientHeight ? 0 : -1;
  }
});

document.querySelectorAll(".scroll").forEach((element) => scrolling.observe(element));

/** Return a region that scrolls sideways if it is too narrow. */
export function scroll(name, ...children) {
  const element = h("div", { class: "scroll", role: "region", "aria-label": name }, ...children);
  scrolling.observe(element);
  return element;
}

/** Return a table: `columns` are texts, or `{text, number}` for a column of numbers; a cell is anything `h` takes. */
export function table(caption, columns, rows, className = "plain") {
  const heads = columns.map((column) => (typeof column === "string" ? { text: column } : column));
  const kind = (i) => (heads[i].number ? "number" : null);
  const cell = (content, i) =>
    i ? h("td", { class: kind(i) }, content) : h("th", { scope: "row", class: kind(i) }, content);
  return scroll(
    caption,
    h(
      "table", { class: className },
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, heads.map((head, i) => h("th", { scope: "col", class: kind(i) }, head.text)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))),
    ),
  );
}

/** Return the pairs of a description list. */
export function pairs(entries) {
  return entries.map(([name, content]) => h("div", {}, h("dt", {}, name), h("dd", {}, content)));
}
