// The dashboard.

import { el } from "./dom.js";
import { Charts, Rates } from "./charts.js";
import { Header } from "./header.js";
import { Recent } from "./transactions.js";
import { Ribbon } from "./ribbon.js";
import { Servers } from "./servers.js";
import { Validators } from "./validators.js";

export function overview({ state, signal }) {
  const rates = new Rates(state);
  const charts = new Charts(state, rates, signal);
  const node = el("div", { class: "overview" },
    el("h1", { class: "hidden", tabindex: "-1" }, "Overview"),
    new Header(state, rates, signal).node,
    new Ribbon(state, signal).node,
    charts.node,
    new Servers(state, signal).node,
    new Validators(state, signal).node,
    new Recent(state, signal).node);
  return { title: "Overview", node, shown: () => charts.update(true) };
}
