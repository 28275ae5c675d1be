// The figures at the top: how the chain stands right now, in numbers and in words.

import { el, setText } from "./dom.js";
import { amount, coarse, count, counted, short, UNKNOWN } from "./format.js";

// A block may be late by chance, and a sample is up to a second old.
const LATE = { blocks: 2, ms: 2_000 };
const STALLED = { blocks: 6, ms: 4_000 };

/** How the age of the newest block compares with the planned time between blocks. */
export function judge(age, interval) {
  if (age === null || !interval) {
    return ["unknown", "no block yet"];
  }
  if (age > STALLED.blocks * interval + STALLED.ms) {
    return ["bad", "stalled"];
  }
  return age > LATE.blocks * interval + LATE.ms ? ["warn", "late"] : ["good", "on time"];
}

const SUPPLY = new Map([
  [true, ["good", "balances sum to coins issued"]],
  [false, ["bad", "balances do NOT sum to coins issued"]],
  [null, ["unknown", "sum not checked yet"]],
]);

const TILES = [
  ["height", "Height"],
  ["tip", "Newest block"],
  ["rate", "Confirmed tx/s"],
  ["pool", "In the pool"],
  ["validators", "Validators alive"],
  ["accounts", "Addresses"],
  ["supply", "Coins in total"],
];

export class Header {
  constructor(state, rates, signal) {
    this.state = state;
    this.rates = rates;
    this.tiles = new Map();
    this.node = el("section", { class: "tiles", "aria-label": "How the network stands" },
      el("dl", {}, TILES.map(([key, term]) => this.tile(key, term))));
    state.on(["sample", "reset", "connection"], () => this.update(), signal);
    state.on(["tick", "block"], () => this.age(), signal);
    this.update();
  }

  tile(key, term) {
    const value = el("span", { class: "value" }, UNKNOWN);
    const note = el("span", { class: "note" });
    const node = el("div", { class: `tile tile-${key}` }, el("dt", {}, term), el("dd", {}, value, note));
    this.tiles.set(key, { node, value, note });
    return node;
  }

  set(key, value, note, mood = "") {
    const tile = this.tiles.get(key);
    setText(tile.value, value);
    setText(tile.note, note);
    tile.node.dataset.mood = mood;
  }

  update() {
    const now = this.state.now ?? {};
    const rates = this.rates.latest();
    this.node.classList.toggle("stale", !this.state.isLive);
    this.set("height", count(now.height), this.ledger(now));
    this.set("rate", short(rates.confirmed), `${short(rates.submitted)} submitted tx/s`);
    const pool = now.pool_submitted ?? null;
    const waiting = pool === null ? null : pool + now.pool_unconfirmed;
    this.set("pool", count(waiting),
      pool === null ? "not answered" : `${count(pool)} waiting, ${count(now.pool_unconfirmed)} in work`);
    this.validators(now);
    this.set("accounts", count(now.accounts), "that hold coins");
    const [mood, words] = SUPPLY.get(now.supply_ok ?? null);
    this.set("supply", amount(now.supply), words, mood);
    this.age();
  }

  ledger({ transactions, height, final_height: last }) {
    if (!Number.isInteger(transactions)) {
      return "not answered";
    }
    if (Number.isInteger(last)) {
      return `final ${count(last)}; ${count(transactions)} transactions`;
    }
    return height === null ? "no block yet" : `${count(transactions)} transactions`;
  }

  validators({ validators, validators_alive: alive }) {
    const gone = validators ? validators.length - alive : 0;
    const note = gone > 0 ? `${counted(gone, "validator")} gone` : "nobody is missing";
    this.set("validators", count(alive), validators ? note : "not answered", gone > 0 ? "warn" : "");
  }

  age() {
    if (!this.state.isLive) {
      this.set("tip", "unknown", "no connection", "unknown");
      return;
    }
    const { interval, transactions } = this.state.now ?? {};
    if (transactions === null) {
      this.set("tip", "unknown", "not answered", "unknown");
      return;
    }
    const tip = this.state.tipTime();
    const age = tip === null ? null : Math.max(0, this.state.clock() - tip);
    const [mood, words] = judge(age, interval);
    const planned = interval ? ` (${coarse(interval)} planned)` : "";
    this.set("tip", age === null ? UNKNOWN : `${coarse(age)} ago`, `${words}${planned}`, mood);
  }
}
