// An address: what it holds, and what touched it.

import { get, links, paths } from "./api.js";
import { el, facts, scroller, table } from "./dom.js";
import { amount, coins, count, counted, units } from "./format.js";
import { pager } from "./paging.js";
import { addressLink, blockLink, idLink } from "./transactions.js";

const LIMIT = 50;
const REFRESH_MS = 3_000;

export async function address({ state, place, signal, address: asked }) {
  const query = activityQuery(place.searchParams);
  const isNewest = !query.has("before_height");
  const holdings = el("section", { class: "panel", "aria-label": "What it holds" });
  const history = el("section", { class: "panel" });

  async function load() {
    const [account, events] = await Promise.all([
      get(paths.account(asked), signal), get(paths.activity(asked, query), signal)]);
    holdings.replaceChildren(balance(account));
    history.replaceChildren(...activity(account.address, events, isNewest, place));
  }

  await load();
  let last = Date.now();
  state.on(["block", "reset"], () => {
    if (isNewest && !document.hidden && Date.now() - last > REFRESH_MS) {
      last = Date.now();
      // It may be out of reach for a moment; the next block asks again.
      load().catch(() => {});
    }
  }, signal);
  const node = el("article", { class: "page" },
    el("div", { class: "page-head" }, el("h1", { tabindex: "-1" }, "Address")), holdings, history);
  return { title: "Address", node };
}

function activityQuery(asked) {
  const query = new URLSearchParams({ limit: LIMIT });
  const [height, index] = [asked.get("before_height"), asked.get("before_index")];
  if (/^\d{1,15}$/.test(height ?? "")) {
    query.set("before_height", height);
    if (/^\d{1,10}$/.test(index ?? "")) {
      query.set("before_index", index);
    }
  }
  return query;
}

function balance(account) {
  return facts([
    ["Address", el("code", {}, account.address)],
    ["Balance", el("strong", { class: "large" }, `${amount(account.balance)} coins`)],
    ["Sent so far", counted(account.sequence, "transaction")],
    ["In the pool", account.pending === null || account.pending === undefined ? "not known"
      : counted(account.pending, "transaction")],
    ["As of block", account.height === null ? "none yet" : blockLink(account.height)],
  ]);
}

function activity(own, events, isNewest, place) {
  const head = el("h2", {}, "Activity");
  if (events.length === 0) {
    return [head, el("p", { class: "nothing" }, "Nothing touched this address.")];
  }
  const { node, body } = table("What touched this address, newest first", [
    ["Block", "number"], "What", ["Amount", "number"], ["With", "wide"], "Transaction",
  ]);
  body.append(...events.map((event) => row(own, event)));
  const last = events.at(-1);
  const older = events.length < LIMIT ? null
    : `${place.pathname}?before_height=${last.height}&before_index=${last.index}`;
  return [head, scroller("Activity", node), pager("Pages of activity", [
    ["Newest", isNewest ? null : links.address(own), "first"], ["Older", older, "next"]])];
}

function row(own, event) {
  const [what, change, other] = describe(own, event);
  return el("tr", {},
    el("td", { class: "number" }, blockLink(event.height)),
    el("td", {}, what),
    el("td", { class: "number" }, change),
    el("td", { class: "wide" }, other),
    el("th", { scope: "row" }, event.transaction ? idLink(event.transaction.id) : "\u2013"));
}

/** What happened in words, the change of the balance, and who else took part. */
function describe(own, { transaction, received }) {
  if (!transaction) {
    return ["reward", `+${amount(received)}`, ""];
  }
  if (transaction.sender !== own) {
    return ["received", `+${amount(received)}`, addressLink(transaction.sender)];
  }
  const others = transaction.payments.filter((payment) => payment.to !== own);
  const paid = transaction.payments.reduce((all, payment) => all + units(payment.amount), 0n);
  const change = units(received) - paid - units(transaction.fee);
  const to = others.length === 1 ? addressLink(others[0].to) : counted(others.length, "payment");
  return others.length === 0 ? ["sent to itself", amount(coins(change)), ""]
    : ["sent", amount(coins(change)), to];
}
