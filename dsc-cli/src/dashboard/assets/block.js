// A block, and the list of them.

import { get, links, paths } from "./api.js";
import { el, facts, scroller, table } from "./dom.js";
import { amount, brief, bytes, count, counted, moment, ago, short, sum } from "./format.js";
import { paged, pager } from "./paging.js";
import { addressLink, blockLink, idLink } from "./transactions.js";

const ENGINES = ["work", "space", "memory"];
const LIST = 50;

export async function block({ state, place, signal, which }) {
  const shown = await get(paths.block(which), signal);
  const title = `Block ${count(shown.height)}`;
  const tip = state.now?.height;
  const newer = tip === undefined || tip === null || shown.height < tip;
  const node = el("article", { class: "page" },
    el("div", { class: "page-head" }, el("h1", { tabindex: "-1" }, title),
      pager("Blocks beside this one", [
        ["Block before", shown.height > 0 ? links.block(shown.height - 1) : null, "prev"],
        ["Block after", newer ? links.block(shown.height + 1) : null, "next"],
      ])),
    about(shown, state), proofs(shown), payments(shown, place));
  return { title, node };
}

const winnerOf = (shown) => (shown.winner
  ? el("span", { class: `kind ${shown.winner}` }, `proof of ${shown.winner}`)
  : "nobody: no proof was good enough");

function about(shown, state) {
  const parent = shown.height > 0
    ? el("a", { class: "id", href: links.block(shown.height - 1) }, shown.parent)
    : `${shown.parent} (the genesis)`;
  return el("section", { class: "panel", "aria-label": "The block" }, facts([
    ["Hash", el("code", {}, shown.hash)],
    ["Time", `${moment(shown.time)} (${ago(shown.time, state.clock())})`],
    ["Transactions", `${count(shown.transaction_count)} with ${counted(shown.payments, "payment")}`],
    ["Paid", `${amount(shown.amount)} coins`],
    ["Size", bytes(shown.bytes)],
    ["Won by", winnerOf(shown)],
    shown.miner && ["Miner", addressLink(shown.miner)],
    shown.miner && ["Reward", `${amount(shown.reward)} coins and ${amount(shown.fees)} in fees`],
    ["Block before", parent],
    ["Made by metronome", addressLink(shown.metronome)],
    ["Epoch", count(shown.epoch)],
    ["State", el("code", {}, shown.state)],
    ["Root of transactions", el("code", {}, shown.transactions_root)],
    ["Root of proofs", el("code", {}, shown.proofs_root)],
    ["Challenge", el("code", {}, shown.challenge)],
  ]));
}

/** Tries that a proof takes on average: a try is uniform below 2^64. */
function difficulty(targets, proof) {
  const target = Number(targets?.[ENGINES.indexOf(proof)]);
  return target > 0 ? short(2 ** 64 / target) : short(null);
}

function proofs(shown) {
  if (shown.proofs.length === 0) {
    return null;
  }
  const { node, body } = table("Proofs in this block",
    ["Proof", "Miner", ["Validator", "wide"], ["Difficulty", "number"], "Outcome"]);
  body.append(...shown.proofs.map((proof) => el("tr", {},
    el("th", { scope: "row" }, el("span", { class: `kind ${proof.proof}` }, proof.proof)),
    el("td", {}, addressLink(proof.miner)),
    el("td", { class: "wide" }, el("code", {}, proof.fingerprint)),
    el("td", { class: "number" }, difficulty(shown.targets, proof.proof)),
    el("td", {}, proof.proof === shown.winner ? "won, paid" : "valid, not paid"))));
  return el("section", { class: "panel" }, el("h2", {}, "Proofs"), scroller("Proofs", node));
}

function payments(shown, place) {
  const head = el("h2", {}, "Transactions");
  if (shown.transactions.length === 0) {
    return el("section", { class: "panel" }, head, el("p", { class: "nothing" }, "The block is empty."));
  }
  const page = paged(shown.transactions, place, "page", "Pages of transactions");
  const { node, body } = table("Transactions in this block", [
    ["Place", "number wide"], "Id", "From", ["To", "wide"], ["Amount", "number"], ["Fee", "number wide"],
  ]);
  body.append(...page.shown.map((one, index) => transaction(one, page.first + index)));
  const listed = shown.transactions.length;
  const cut = shown.transaction_count > listed &&
    el("p", { class: "nothing" }, `The first ${count(listed)} are listed.`);
  return el("section", { class: "panel" }, head, scroller("Transactions", node), page.nav, cut);
}

function transaction(one, index) {
  const to = one.payments.length === 1 ? addressLink(one.payments[0].to)
    : counted(one.payments.length, "payment");
  return el("tr", {},
    el("td", { class: "number wide" }, count(index)),
    el("th", { scope: "row" }, idLink(one.id)),
    el("td", {}, addressLink(one.sender)),
    el("td", { class: "wide" }, to),
    el("td", { class: "number" }, amount(total(one.payments))),
    el("td", { class: "number wide" }, amount(one.fee)));
}

const total = (payments) => sum(payments.map((payment) => payment.amount));

export async function blocks({ state, place, signal }) {
  const asked = place.searchParams.get("before");
  const before = /^\d{1,15}$/.test(asked ?? "") ? asked : null;
  const list = await get(paths.blocks(before, LIST), signal);
  const { node, body } = table("Blocks, newest first", [
    ["Height", "number"], "Won by", ["Transactions", "number"], ["Paid", "number wide"],
    ["Fees", "number wide"], ["Size", "number wide"], ["Hash", "wide"], "Time",
  ]);
  const now = state.clock();
  body.append(...list.map((one) => el("tr", {},
    el("th", { scope: "row", class: "number" }, blockLink(one.height)),
    el("td", {}, el("span", { class: `kind ${one.winner ?? "none"}` }, one.winner ?? "nobody")),
    el("td", { class: "number" }, count(one.transactions)),
    el("td", { class: "number wide" }, amount(one.amount)),
    el("td", { class: "number wide" }, amount(one.fees)),
    el("td", { class: "number wide" }, bytes(one.bytes)),
    el("td", { class: "wide" }, el("code", {}, brief(one.hash))),
    el("td", {}, ago(one.time, now)))));
  const oldest = list.at(-1)?.height ?? 0;
  const nav = pager("Pages of blocks", [
    ["Newest", before === null ? null : "/blocks", "first"],
    ["Older", oldest > 0 ? `/blocks?before=${oldest}` : null, "next"],
  ]);
  const empty = list.length === 0 && el("p", { class: "nothing" }, "No block yet.");
  return {
    title: "Blocks",
    node: el("article", { class: "page" },
      el("div", { class: "page-head" }, el("h1", { tabindex: "-1" }, "Blocks"), nav),
      el("section", { class: "panel", "aria-label": "Blocks" }, scroller("Blocks", node), empty)),
  };
}
