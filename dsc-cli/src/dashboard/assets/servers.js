// Where a role has several servers: how each of them stands. Where none has, nothing is shown.

import { el, keyed, scroller, setAttribute, setText, table } from "./dom.js";
import { ago, count } from "./format.js";

const COLUMNS = [
  "Server", "State", ["Height", "number"], ["Final", "number wide"], "Standing", ["Why", "wide"],
];
const STATES = {
  ready: ["ready", "state good"],
  stale: ["out of date", "state pending"],
  waiting: ["not ready", "state bad"],
  silent: ["silent", "state bad"],
};

export class Servers {
  constructor(state, signal) {
    this.state = state;
    const { node, body } = table("Servers", COLUMNS);
    this.body = body;
    this.node = el("section", { class: "panel servers", "aria-labelledby": "servers-title" },
      el("div", { class: "panel-head" }, el("h2", { id: "servers-title" }, "Servers")),
      scroller("Servers", node));
    state.on(["sample", "reset", "connection"], () => this.update(), signal);
    this.update();
  }

  update() {
    const { servers = [], time } = this.state.now ?? {};
    this.node.hidden = servers.length === 0;
    keyed(this.body, servers, (one) => `${one.role} ${one.url}`, make,
      (row, one) => update(row, one, time));
    this.node.classList.toggle("stale", !this.state.isLive);
  }
}

function make({ role, url }) {
  return el("tr", {},
    el("th", { scope: "row" }, role, " ", el("span", { class: "address" }, url)),
    el("td"), el("td", { class: "number" }), el("td", { class: "number wide" }), el("td"),
    el("td", { class: "wide" }));
}

function judge({ alive, ready, stale_since: since }) {
  if (!alive) {
    return "silent";
  }
  return since !== null ? "stale" : ready ? "ready" : "waiting";
}

function standing({ role, leading, epoch, stale_since: since }, now) {
  if (role === "metronome" && leading !== null) {
    return leading ? `leads with lease ${count(epoch)}` : "stands by";
  }
  return since === null ? "" : `heard the engine ${ago(since, now)}`;
}

function update(row, server, now) {
  const [, state, height, last, stands, why] = row.cells;
  const [words, kind] = STATES[judge(server)];
  setText(state, words);
  setAttribute(state, "class", kind);
  const of = (figure) => (server.role === "blockchain" ? count(figure) : "");
  setText(height, of(server.height));
  setText(last, of(server.final_height));
  setText(stands, standing(server, now));
  setText(why, server.fault ?? "");
}
