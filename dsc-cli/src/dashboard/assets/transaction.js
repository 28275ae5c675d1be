// A transaction: its life so far, and what it pays.

import { get, paths } from "./api.js";
import { el, facts, scroller, setText, table } from "./dom.js";
import { amount, bytes, count, counted, moment, span, textOf, visible } from "./format.js";
import { paged } from "./paging.js";
import { addressLink, badge, blockLink } from "./transactions.js";

const FINAL = ["confirmed", "rejected", "expired"];
/** How a sealed memo begins; no text begins so. */
const SEALED = "93647363";
const STEPS = new Map([
  ["submitted", "The pool took it and keeps it."],
  ["unconfirmed", "The metronome has it for the next block."],
  ["confirmed", "It is on the ledger."],
  ["rejected", "It was refused and has no effect."],
  ["expired", "It was not confirmed before the height it was good for."],
]);

export async function transaction({ state, place, signal, id }) {
  const body = el("div", { class: "parts" });
  let shown = null;

  async function load() {
    shown = await get(paths.transaction(id), signal);
    body.replaceChildren(...parts(shown, state, place).filter(Boolean));
    confirmations(body, shown, state);
  }

  /** A state that is not final is asked again whenever something may have happened. */
  function follow() {
    if (!FINAL.includes(shown.state)) {
      // It may be out of reach for a moment; the next event asks again.
      load().catch(() => {});
    }
    confirmations(body, shown, state);
  }

  await load();
  state.on(["recent", "block", "reset"], follow, signal);
  state.on("sample", () => confirmations(body, shown, state), signal);
  const node = el("article", { class: "page" },
    el("div", { class: "page-head" }, el("h1", { tabindex: "-1" }, "Transaction")), body);
  return { title: "Transaction", node };
}

function parts(shown, state, place) {
  const when = el("span", { class: "confirmations" });
  const all = [
    el("section", { class: "panel", "aria-label": "The transaction" },
      el("p", { class: "verdict", role: "status" }, badge(shown.state), when), reason(shown),
      timeline(shown)),
    el("section", { class: "panel", "aria-label": "What it holds" }, facts([
      ["Id", el("code", {}, shown.id)],
      shown.state === "confirmed" && ["Block", blockLink(shown.height),
        shown.index === null ? "" : `, place ${count(shown.index)}`],
      ["From", shown.from ? addressLink(shown.from) : "not known"],
      shown.amount !== null && ["Amount", `${amount(shown.amount)} coins`],
      shown.fee !== null && ["Fee", `${amount(shown.fee)} coins`],
      shown.sequence !== null && ["Sequence", count(shown.sequence)],
      shown.expires !== null && ["Good until block", count(shown.expires)],
      shown.bytes !== null && ["Size", bytes(shown.bytes)],
    ])),
    memo(shown.memo ?? ""),
    payments(shown.payments ?? [], place),
  ];
  return all;
}

function confirmations(body, shown, state) {
  const node = body.querySelector(".confirmations");
  const tip = state.now?.height;
  if (!node || shown.state !== "confirmed") {
    return;
  }
  const known = Number.isInteger(tip) && shown.height !== null ? tip - shown.height + 1
    : shown.confirmations;
  setText(node, known ? ` with ${counted(Math.max(known, 1), "confirmation")}` : "");
}

function reason(shown) {
  return shown.reason && el("p", { class: "notice bad" },
    el("strong", {}, "Why: "), visible(String(shown.reason.reason ?? "no reason was given")),
    " ", el("code", {}, visible(String(shown.reason.code ?? ""))));
}

function timeline(shown) {
  let before = null;
  const now = shown.timeline.findIndex(({ state }) => state === shown.state);
  const steps = shown.timeline.map(({ state, time }, place) => {
    const reached = time !== null || place <= now;
    const took = before !== null && time !== null ? ` (${span(Math.max(0, time - before))} later)` : "";
    before = time ?? before;
    const told = reached ? `${time === null ? "time not known" : moment(time)}${took}` : "not yet";
    return el("li", { class: reached ? "reached" : "ahead" },
      el("strong", {}, state), el("span", { class: "time" }, told),
      el("span", { class: "means" }, STEPS.get(state) ?? ""));
  });
  return el("ol", { class: "timeline", "aria-label": "Life of the transaction" }, steps);
}

/** A memo is bytes of a stranger: text if it is UTF-8, and then with nothing unseen in it. */
function memo(hex) {
  if (hex === "") {
    return null;
  }
  const text = textOf(hex);
  const what = hex.startsWith(SEALED) ? "Sealed: only the recipient can read it, with `dsc wallet read`."
    : "Not text; its bytes:";
  return el("section", { class: "panel" }, el("h2", {}, "Memo"),
    text === null ? el("p", { class: "nothing" }, what) : null,
    el("pre", { class: "memo", tabindex: "0" }, text === null ? hex : visible(text)));
}

function payments(list, place) {
  if (list.length === 0) {
    return null;
  }
  const page = paged(list, place, "page", "Pages of payments");
  const { node, body } = table("Payments of this transaction", ["To", ["Amount", "number"]]);
  body.append(...page.shown.map((payment) => el("tr", {},
    el("th", { scope: "row" }, addressLink(payment.to)),
    el("td", { class: "number" }, amount(payment.amount)))));
  return el("section", { class: "panel" }, el("h2", {}, "Payments"), scroller("Payments", node),
    page.nav);
}
