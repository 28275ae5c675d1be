// The newest blocks side by side, and before them the one that is being made.

import { el, keyed, setAttribute, setText } from "./dom.js";
import { ago, count, counted, rounded, UNKNOWN } from "./format.js";
import { links } from "./api.js";

const MOVES = new Map([["ArrowLeft", -1], ["ArrowRight", 1], ["Home", -Infinity], ["End", Infinity]]);

export class Ribbon {
  constructor(state, signal) {
    this.state = state;
    this.next = new Next();
    this.list = el("ol", { class: "blocks", "aria-label": "Newest blocks, newest first" });
    this.list.addEventListener("keydown", (event) => this.move(event));
    this.node = el("section", { class: "panel ribbon", "aria-labelledby": "blocks-title" },
      el("div", { class: "panel-head" }, el("h2", { id: "blocks-title" }, "Blocks"), legend(),
        el("a", { href: "/blocks" }, "All blocks")),
      el("div", { class: "track" }, this.next.node, this.list));
    state.on(["block", "reset"], () => this.update(), signal);
    state.on("tick", () => this.age(), signal);
    state.on(["tick", "sample", "reset", "connection"], () => this.next.update(state), signal);
    this.update();
    this.next.update(state);
  }

  update() {
    keyed(this.list, this.state.blocks, (block) => block.hash, make, () => {});
    const focused = this.list.querySelector("a:focus");
    this.reach(focused ?? this.list.querySelector("a"));
    this.age();
  }

  age() {
    const now = this.state.clock();
    const times = this.list.querySelectorAll("time");
    this.state.blocks.forEach((block, place) => setText(times[place], ago(block.time, now)));
  }

  /** One of the blocks is reached by Tab, the others from there by arrows. */
  reach(link) {
    for (const other of this.list.querySelectorAll("a")) {
      setAttribute(other, "tabindex", other === link ? "0" : "-1");
    }
  }

  move(event) {
    const step = MOVES.get(event.key);
    const all = [...this.list.querySelectorAll("a")];
    const place = all.indexOf(document.activeElement);
    if (step === undefined || place < 0) {
      return;
    }
    event.preventDefault();
    const link = all[Math.min(all.length - 1, Math.max(0, place + step))];
    this.reach(link);
    link.focus();
  }
}

function legend() {
  const entry = (kind, words) => el("li", { class: `kind ${kind}` }, words);
  return el("ul", { class: "legend kinds", "aria-label": "Won by proof of" },
    entry("work", "work"), entry("space", "space"), entry("memory", "memory"),
    entry("none", "nobody"), entry("hollow", "hollow: no transactions"));
}

function make(block) {
  const winner = block.winner ?? "none";
  const hollow = block.transactions === 0 ? " hollow" : "";
  const proof = block.winner ? `won by ${block.winner}` : "no proof";
  const content = block.transactions === 0 ? "empty" : counted(block.transactions, "transaction");
  return el("li", {},
    el("a", { class: `block ${winner}${hollow}`, href: links.block(block.height) },
      el("strong", {}, count(block.height)),
      el("span", {}, content),
      el("span", { class: "sum" }, `${rounded(block.amount)} coins`),
      el("span", { class: "winner" }, proof),
      el("time", { datetime: new Date(block.time).toISOString() })));
}

/** The block that is being made. */
class Next {
  constructor() {
    this.title = el("strong", {}, UNKNOWN);
    this.content = el("span", {});
    this.left = el("span", { class: "winner" });
    this.fill = el("span", { class: "fill" });
    this.node = el("div", { class: "block next" },
      el("span", { class: "tag" }, "next"), this.title, this.content, this.left, this.fill);
  }

  update(state) {
    const { now } = state;
    const round = state.isLive ? now?.round : null;
    setText(this.title, round ? count(round.height) : UNKNOWN);
    if (!round) {
      setText(this.content, state.isLive ? "no round runs" : "unknown");
      setText(this.left, "");
      this.fill.style.transform = "scaleY(0)";
      return;
    }
    const waiting = now.pool_submitted === null ? null : now.pool_submitted + now.pool_unconfirmed;
    setText(this.content, `${count(waiting)} waiting`);
    const left = Math.max(0, now.time + round.closes_in - state.clock());
    setText(this.left, left > 0 ? `closes in ${(left / 1_000).toFixed(1)} s` : "closing");
    const share = now.interval ? 1 - Math.min(1, left / now.interval) : 0;
    this.fill.style.transform = `scaleY(${share.toFixed(2)})`;
  }
}
