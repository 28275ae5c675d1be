// Elements made from values. Invariant: whatever comes from elsewhere becomes a text node or an
// attribute that is no code, so nothing in a memo or a name is ever read as HTML.

/** An element; children that are strings become text, those that are nothing are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) {
      continue;
    }
    node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Sets a text if it is another one, which spares the browser a layout. */
export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) {
    node.setAttribute(name, value);
  }
}

/** A table with a caption; `columns` are [text, class] or text. */
export function table(caption, columns, { captionClass = "hidden" } = {}) {
  const body = el("tbody");
  const head = columns.map((column) => {
    const [text, kind] = [column].flat();
    return el("th", { scope: "col", class: kind }, text);
  });
  const node = el("table", {},
    el("caption", { class: captionClass }, caption),
    el("thead", {}, el("tr", {}, head)), body);
  return { node, body };
}

/** What a wide table scrolls in on a narrow screen, also by keyboard. */
export function scroller(label, ...children) {
  return el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": `Table: ${label}` },
    ...children);
}

/** Terms and what they are; `rows` are [term, text or node]. */
export function facts(rows) {
  return el("dl", { class: "facts" }, rows.filter(Boolean).map(([term, ...values]) =>
    el("div", {}, el("dt", {}, term), el("dd", {}, ...values))));
}

/** Makes the rows of `body` those of `items`, in their order, keeping nodes of known keys. */
export function keyed(body, items, keyOf, make, update) {
  const known = new Map([...body.children].map((node) => [node.dataset.key, node]));
  let place = body.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let node = known.get(key);
    if (node) {
      known.delete(key);
    } else {
      node = make(item);
      node.dataset.key = key;
    }
    update(node, item);
    if (node === place) {
      place = place.nextElementSibling;
    } else {
      body.insertBefore(node, place);
    }
  }
  for (const node of known.values()) {
    node.remove();
  }
}
