// Long lists in pages, each with an address of its own, so that going back works.

import { el } from "./dom.js";
import { count } from "./format.js";

/** Links to other pages of the same list; `links` are [text, href or null, rel]. */
export function pager(label, links) {
  const shown = links.filter(([, href]) => href !== null);
  return shown.length === 0 ? null : el("nav", { class: "pager", "aria-label": label },
    shown.map(([text, href, rel]) => el("a", { href, rel }, text)));
}

const SIZE = 50;

/** One page of `items`, chosen by `?NAME=`, and the links to the others. */
export function paged(items, place, name, label) {
  const pages = Math.max(1, Math.ceil(items.length / SIZE));
  const wanted = Number(place.searchParams.get(name) ?? 1);
  const page = Math.min(pages, Math.max(1, Number.isInteger(wanted) ? wanted : 1));
  const first = (page - 1) * SIZE;
  const at = (number) => {
    if (number < 1 || number > pages) {
      return null;
    }
    const query = new URLSearchParams(place.search);
    query.set(name, number);
    return `${place.pathname}?${query}`;
  };
  const shown = items.slice(first, first + SIZE);
  const range = `${count(first + 1)} to ${count(first + shown.length)} of ${count(items.length)}`;
  const nav = pager(label, [["Previous", at(page - 1), "prev"], ["Next", at(page + 1), "next"]]);
  return { first, shown, nav: nav && el("div", { class: "paging" }, el("p", {}, range), nav) };
}
