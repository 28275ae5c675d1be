// Tables of transactions.

import { el, keyed, scroller, setAttribute, setText, table } from "./dom.js";
import { amount, brief, count, counted, when } from "./format.js";
import { links } from "./api.js";

const MOODS = new Map([["confirmed", "good"], ["rejected", "bad"], ["expired", "bad"]]);

/** What a state is called, and how it is marked. */
export const badge = (state) =>
  el("span", { class: `state ${MOODS.get(state) ?? "pending"}` }, String(state));

/** A link that shows both ends of an id. */
export const idLink = (id) => el("a", { class: "id", href: links.transaction(id), title: id }, brief(id));

export const addressLink = (address) =>
  el("a", { class: "id", href: links.address(address), title: address }, brief(address, 10, 6));

export const blockLink = (height) => el("a", { href: links.block(height) }, count(height));

const COLUMNS = [
  "Id", ["From", "wide"], ["To", "wide"], ["Amount", "number"], ["Fee", "number wide"], "State",
  ["Block", "number wide"], ["Time", "number wide"],
];

/** The newest transactions with their states. */
export class Recent {
  constructor(state, signal) {
    this.state = state;
    const { node, body } = table("Recent transactions", COLUMNS);
    this.body = body;
    this.empty = el("p", { class: "nothing" });
    this.node = el("section", { class: "panel recent", "aria-labelledby": "recent-title" },
      el("div", { class: "panel-head" }, el("h2", { id: "recent-title" }, "Recent transactions")),
      scroller("Recent transactions", node), this.empty);
    state.on(["recent", "reset"], () => this.update(), signal);
    this.update();
  }

  update() {
    const now = this.state.clock();
    keyed(this.body, this.state.recent, (row) => row.id, make, (row, one) => update(row, one, now));
    setText(this.empty, this.state.recent.length ? "" : "No transaction yet.");
  }
}

function make(transaction) {
  const to = transaction.to === null ? counted(transaction.payments, "payment")
    : addressLink(transaction.to);
  return el("tr", {},
    el("th", { scope: "row" }, idLink(transaction.id)),
    el("td", { class: "wide" }, addressLink(transaction.from)),
    el("td", { class: "wide" }, to),
    el("td", { class: "number" }, amount(transaction.amount)),
    el("td", { class: "number wide" }, amount(transaction.fee)),
    el("td"), el("td", { class: "number wide" }), el("td", { class: "number wide" }));
}

function update(row, transaction, now) {
  const { state, height, time } = transaction;
  const shown = `${state} ${height} ${time}`;
  if (row.dataset.shown === shown) {
    return;
  }
  setAttribute(row, "data-shown", shown);
  row.cells[5].replaceChildren(badge(state));
  row.cells[6].replaceChildren(height === null ? "" : blockLink(height));
  setText(row.cells[7], when(time, now));
}
