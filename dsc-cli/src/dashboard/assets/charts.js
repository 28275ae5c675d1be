// The charts, and how their lines come from samples.

import { el } from "./dom.js";
import { count, short, span } from "./format.js";
import { Plot } from "./plot.js";

const RANGES = [[5, "5 min"], [15, "15 min"], [60, "1 hour"]];
const RANGE_KEY = "dsc-range";
const MINUTE_MS = 60_000;
/** Charts move when time moves by about a pixel. */
const STEPS = 600;
/** Blocks come in steps: rates are taken over at least so long, and over some blocks. */
const RATE_MS_MIN = 10_000;
const RATE_BLOCKS = 3;
const PROOFS = ["work", "space", "memory"];

/** Rates of counters over the last seconds, for every sample. */
export class Rates {
  constructor(state) {
    this.state = state;
  }

  /** Per second, at `place`; null where the counter is not known or started again. */
  at(field, place) {
    const { samples } = this.state;
    const last = samples[place];
    const width = Math.max(RATE_MS_MIN, RATE_BLOCKS * (last.interval ?? 0));
    let first = null;
    for (let at = place - 1; at >= 0 && last.time - samples[at].time <= width; at -= 1) {
      const [older, newer] = [samples[at][field], samples[at + 1][field]];
      if (older === null || newer === null || older > newer) {
        break;
      }
      first = samples[at];
    }
    return first && ((last[field] - first[field]) * 1_000) / (last.time - first.time);
  }

  latest() {
    const place = this.state.samples.length - 1;
    const at = (field) => (place < 0 ? null : this.at(field, place));
    return { confirmed: at("transactions"), submitted: at("submitted_total") };
  }
}

/** A figure of something that does not happen in every sample: no gap where nothing happened. */
const latency = (sample, field) =>
  sample.latency?.[field] ?? (sample.transactions === null ? null : undefined);
/** Validators report whole milliseconds. */
const PROOF_SECONDS_MIN = 0.001;
const seconds = (value) =>
  (value > PROOF_SECONDS_MIN ? span(value * 1_000) : "\u2264 1 ms");
const perProof = (field) => PROOFS.map((proof, place) => ({
  name: proof, color: `--${proof}`, dash: [[], [8, 4], [2, 3]][place],
  value: (sample) => sample[field]?.[proof] ?? null,
}));

const charts = (rates) => [
  {
    id: "rates", title: "Transactions per second", format: short, ticks: true,
    note: "Ticks at the foot are blocks.",
    lines: [
      { name: "confirmed", color: "--accent", dash: [], value: (_, at) => rates.at("transactions", at) },
      { name: "submitted", color: "--second", dash: [6, 4],
        value: (_, at) => rates.at("submitted_total", at) },
    ],
  },
  {
    id: "pool", title: "Transactions in the pool", format: count, whole: true,
    lines: [
      { name: "submitted", color: "--second", dash: [6, 4], value: (sample) => sample.pool_submitted },
      { name: "unconfirmed", color: "--accent", dash: [], value: (sample) => sample.pool_unconfirmed },
    ],
  },
  {
    id: "latency", title: "Time from submission to confirmation", format: span,
    lines: [
      { name: "median", color: "--accent", dash: [], value: (sample) => latency(sample, "p50") },
      { name: "90th percentile", color: "--second", dash: [6, 4],
        value: (sample) => latency(sample, "p90") },
      { name: "longest", color: "--muted", dash: [2, 3], value: (sample) => latency(sample, "max") },
    ],
  },
  {
    id: "proofs", title: "Time to a proof", format: seconds, log: PROOF_SECONDS_MIN,
    note: "Mean of the validators of an engine in a round.", lines: perProof("proof_seconds"),
  },
  {
    id: "difficulty", title: "Difficulty", format: short, log: 1,
    note: "Tries that a proof takes on average.", lines: perProof("difficulty"),
  },
];

export class Charts {
  constructor(state, rates, signal) {
    this.state = state;
    this.minutes = remembered();
    this.plots = charts(rates).map((chart) => new Plot(chart, signal));
    this.node = el("section", { class: "charts", "aria-labelledby": "charts-title" },
      el("div", { class: "panel-head" },
        el("h2", { id: "charts-title" }, "Charts"), this.ranges()),
      el("div", { class: "grid" }, this.plots.map((plot) => plot.node)));
    state.on("sample", () => this.update(), signal);
    state.on("reset", () => this.update(true), signal);
    state.on("connection", () => this.mark(), signal);
    const shown = () => this.update(true);
    document.addEventListener("visibilitychange", shown, { signal });
  }

  ranges() {
    this.buttons = RANGES.map(([minutes, text]) => {
      const pressed = String(minutes === this.minutes);
      const button = el("button", { type: "button", "aria-pressed": pressed }, text);
      button.addEventListener("click", () => this.choose(minutes));
      return button;
    });
    return el("div", { class: "ranges", role: "group", "aria-label": "Time shown" }, this.buttons);
  }

  choose(minutes) {
    this.minutes = minutes;
    remember(minutes);
    RANGES.forEach(([own], place) =>
      this.buttons[place].setAttribute("aria-pressed", String(own === minutes)));
    this.update(true);
  }

  mark() {
    this.node.classList.toggle("stale", !this.state.isLive);
  }

  /** Draws the samples of the chosen time; a tab that nobody sees draws nothing. */
  update(isOther = false) {
    const { samples } = this.state;
    this.mark();
    if (document.hidden || samples.length === 0) {
      return;
    }
    const end = samples.at(-1).time;
    if (!isOther && end - this.drawn < (this.minutes * MINUTE_MS) / STEPS) {
      this.plots.forEach((plot) => plot.name(samples));
      return;
    }
    this.drawn = end;
    const wanted = end - this.minutes * MINUTE_MS;
    const start = Math.max(wanted, Math.min(samples[0].time, end - MINUTE_MS));
    const place = samples.findIndex((sample) => sample.time >= start);
    const data = { start, end, first: place, samples, blocks: blockTimes(samples, place) };
    for (const plot of this.plots) {
      plot.update(data);
    }
  }
}

/** When blocks were made, as far as samples tell. */
function blockTimes(samples, first) {
  const newest = samples.slice(first).map((sample) => sample.tip_time);
  return [...new Set(newest.filter(Boolean))];
}

function remembered() {
  try {
    const minutes = Number(localStorage.getItem(RANGE_KEY));
    return RANGES.some(([own]) => own === minutes) ? minutes : RANGES[0][0];
  } catch {
    return RANGES[0][0];
  }
}

function remember(minutes) {
  try {
    localStorage.setItem(RANGE_KEY, minutes);
  } catch {
    // Storage may be switched off; the choice lasts as long as the page.
  }
}
