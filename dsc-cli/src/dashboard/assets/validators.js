// Who looks for proofs: a row for each validator that was heard of within the hour.

import { el, keyed, scroller, setAttribute, setText, table } from "./dom.js";
import { ago, brief, bytes, count, percent, short } from "./format.js";
import { links } from "./api.js";

const COLUMNS = [
  "Validator", "Proof", "State", ["Won", "number"], ["Share", "number wide"],
  ["Tries per s", "number wide"], ["Memory", "number wide"], ["Disk", "number wide"],
  ["Heard", "number wide"],
];
const ORDER = ["work", "space", "memory"];

export class Validators {
  constructor(state, signal) {
    this.state = state;
    const { node, body } = table("Validators", COLUMNS);
    this.body = body;
    this.empty = el("p", { class: "nothing" });
    this.node = el("section", { class: "panel validators", "aria-labelledby": "validators-title" },
      el("div", { class: "panel-head" }, el("h2", { id: "validators-title" }, "Validators")),
      scroller("Validators", node), this.empty);
    state.on(["sample", "reset", "connection"], () => this.update(), signal);
    this.update();
  }

  update() {
    const known = this.state.now?.validators;
    const rank = (validator) => ORDER.indexOf(validator.proof);
    const sorted = [...(known ?? [])].sort((a, b) =>
      b.alive - a.alive || rank(a) - rank(b) || a.fingerprint.localeCompare(b.fingerprint));
    const now = this.state.now?.time;
    keyed(this.body, sorted, (one) => one.fingerprint, make, (row, one) => update(row, one, now));
    setText(this.empty, sorted.length ? "" : "No validator was heard of.");
    this.node.classList.toggle("stale", !this.state.isLive);
  }
}

function make(validator) {
  const cell = (kind = "") => el("td", { class: kind });
  const wide = "number wide";
  return el("tr", {},
    el("th", { scope: "row" },
      el("a", { href: links.address(validator.address), title: validator.fingerprint,
        "aria-label": `Validator ${validator.fingerprint}: the address that it earns for` },
        brief(validator.fingerprint, 8, 4))),
    el("td", {}, el("span", { class: `kind ${validator.proof}` }, validator.proof),
      el("span", { class: "narrow" })),
    cell(), cell("number"), cell(wide), cell(wide), cell(wide), cell(wide), cell(wide));
}

function update(row, validator, now) {
  const [, proof, state, won, share, rate, memory, disk, heard] = row.cells;
  const shares = percent(validator.share);
  setText(proof.lastElementChild, `${shares}, ${short(validator.rate)} tries/s`);
  setText(won, count(validator.won));
  setText(share, shares);
  setText(rate, short(validator.rate));
  setText(memory, bytes(validator.ram_bytes));
  setText(disk, bytes(validator.disk_bytes));
  setText(heard, ago(validator.last_seen, now));
  setText(state, validator.alive ? "alive" : "gone");
  setAttribute(state, "class", validator.alive ? "state good" : "state bad");
  setAttribute(row, "class", validator.alive ? "" : "gone");
}
