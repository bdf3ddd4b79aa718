// Elements from plain values. Text only ever becomes text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

export function h(name, props = {}, ...children) {
  return fill(document.createElement(name), props, children);
}

export function svg(name, props = {}, ...children) {
  return fill(document.createElementNS(SVG, name), props, children);
}

function fill(element, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [name, text] of Object.entries(value)) element.style.setProperty(name, text);
    else if (key === "data") for (const [name, text] of Object.entries(value)) element.dataset[name] = text;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Replace what a place shows, keeping the focus on the element of the same data-key. */
export function show(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (focused) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

export function card(title, { aside = null, flush = false, label = null } = {}, ...body) {
  return h("section", { class: "card", "aria-label": label ?? title },
    title ? h("header", {}, h("h2", {}, title), aside) : null,
    h("div", { class: flush ? "flush" : "body" }, ...body));
}

export function table(caption, columns, rows, { stack = true } = {}) {
  return h("table", { class: stack ? "stack" : null },
    h("caption", { class: "hidden" }, caption),
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.left ? "left" : null, title: column.hint }, column.name)))),
    h("tbody", {}, rows.map((row) => h("tr", { class: row.class },
      columns.map((column, index) => {
        const value = column.cell(row);
        return h("td", { class: [column.left && "left", column.wide && "wide"].filter(Boolean).join(" ") || null, data: index ? { label: column.name } : {} }, value);
      })))));
}

/** A deployment's name; where there is little room the provider gives way, not the model. */
export function deployment(id) {
  const cut = id.indexOf("/") + 1;
  return h("b", { class: "name", title: id }, h("span", { class: "of" }, id.slice(0, cut)), h("span", {}, id.slice(cut)));
}

export const empty = (text) => h("p", { class: "empty" }, text);
export const pill = (text, kind = "", title = null) => h("span", { class: `pill ${kind}`, title }, text);
export const swatch = (color) => h("i", { class: "swatch", style: { background: color }, "aria-hidden": "true" });
