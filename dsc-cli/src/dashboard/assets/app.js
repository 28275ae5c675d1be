// Where everything begins: the stream, the banner, and which page is shown.

import { address } from "./address.js";
import { get, paths } from "./api.js";
import { block, blocks } from "./block.js";
import { el, setText } from "./dom.js";
import { clock } from "./format.js";
import { overview } from "./overview.js";
import { setUpSearch } from "./search.js";
import { State } from "./state.js";
import { Stream } from "./stream.js";
import { transaction } from "./transaction.js";

const NAME = "DataSys Coin";
const ROUTES = [
  [/^\/$/, overview, null],
  [/^\/blocks$/, blocks, null],
  [/^\/block\/([^/]+)$/, block, "which"],
  [/^\/transaction\/([^/]+)$/, transaction, "id"],
  [/^\/address\/([^/]+)$/, address, "address"],
];

const state = new State();
const main = document.getElementById("main");
let leaving = new AbortController();

/** Shows what belongs to the place of the browser. */
async function show({ isMove }) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const place = new URL(location.href);
  mark(place.pathname);
  main.setAttribute("aria-busy", "true");
  const view = await open(place, signal);
  if (signal.aborted) {
    return;
  }
  main.removeAttribute("aria-busy");
  main.replaceChildren(view.node);
  document.title = `${view.title} - ${NAME}`;
  view.shown?.();
  if (isMove) {
    scrollTo(0, 0);
    main.querySelector("h1").focus({ preventScroll: true });
  }
}

async function open(place, signal) {
  try {
    for (const [path, view, name] of ROUTES) {
      const found = path.exec(place.pathname);
      if (found) {
        const named = name && { [name]: decodeURIComponent(found[1]) };
        return await view({ state, place, signal, ...named });
      }
    }
    return failed("Not found", "There is no such page.");
  } catch (error) {
    const title = error.status === 404 ? "Not found" : "Not shown";
    return failed(title, [error.message, error.hint].filter(Boolean).join("; "));
  }
}

function failed(title, words) {
  const again = el("button", { type: "button" }, "Try again");
  again.addEventListener("click", () => show({ isMove: true }));
  return {
    title,
    node: el("article", { class: "page" }, el("h1", { tabindex: "-1" }, title),
      el("p", { class: "notice bad", role: "alert" }, words), el("p", {}, again)),
  };
}

function mark(path) {
  for (const [id, own] of [["to-overview", "/"], ["to-blocks", "/blocks"]]) {
    const link = document.getElementById(id);
    path === own ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
}

function go(path) {
  history.pushState(null, "", path);
  show({ isMove: true });
}

/** Links within the page move without loading it again; every other click is the browser's. */
function follow(event) {
  const link = event.target.closest("a[href]");
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey &&
    !event.altKey && !event.defaultPrevented;
  if (!link || !isPlain || link.dataset.plain !== undefined || link.origin !== location.origin ||
      link.getAttribute("href").startsWith("#")) {
    return;
  }
  event.preventDefault();
  go(link.getAttribute("href"));
}

/** Says what is wrong: with the connection first, else with the roles. */
function warn() {
  const banner = document.getElementById("banner");
  const { state: connection, since } = state.connection;
  const faults = state.now?.faults ?? [];
  const lost = "The connection to the monitor is lost; it is tried again until it is back. ";
  const last = state.now ? `Figures are those of ${clock(state.now.time)}.` : "";
  const words = connection === "lost" ? `${lost}${last}`
    : faults.length > 0 ? `Not everything answers: ${faults.join("; ")}` : "";
  banner.dataset.kind = connection === "lost" ? "lost" : "faults";
  banner.dataset.since = since ?? "";
  document.documentElement.dataset.connection = connection;
  setText(banner, words);
}

function introduce() {
  const kind = state.development ? " (development)" : "";
  setText(document.getElementById("network"), state.network ? `${state.network}${kind}` : "");
  setText(document.getElementById("origin"), `Served by the monitor at ${location.host}.`);
}

/** A monitor that started before the blockchain server learns the network's name later. */
async function learn() {
  if (state.network === null && state.now?.supply) {
    const { network, chain, development } = await get(paths.history());
    Object.assign(state, { network, chain, development });
    introduce();
  }
}

document.addEventListener("click", follow);
addEventListener("popstate", () => show({ isMove: true }));
state.on(["sample", "connection", "reset"], warn);
state.on("reset", introduce);
// The next sample asks again.
state.on("sample", () => learn().catch(() => {}));
setUpSearch(go);
introduce();
show({ isMove: false });
new Stream(state).open();
