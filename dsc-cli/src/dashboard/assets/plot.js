// One chart: lines over time by uPlot, with the same in words and as a table.

import uPlot from "./uplot/uPlot.esm.js";
import { el, setText } from "./dom.js";
import { clock, UNKNOWN } from "./format.js";

const HEIGHT = 190;
const ROWS = 12;
const SYNC = "dsc";
const TICK_PX = 6;
/** Steps of an axis that counts. */
const WHOLE = [...Array(13).keys()].flatMap((power) => [1, 2, 5].map((step) => step * 10 ** power));

/** A colour of the style sheet as the canvas takes it. */
function color(name) {
  const probe = document.getElementById("main");
  probe.style.setProperty("outline-color", `var(${name})`);
  const resolved = getComputedStyle(probe).outlineColor;
  probe.style.removeProperty("outline-color");
  return resolved;
}

export class Plot {
  constructor({ id, title, note, format, lines, log = null, ticks = false, whole = false }, signal) {
    Object.assign(this, { id, format, lines, log, ticks, whole, colors: new Map() });
    this.data = null;
    this.canvas = el("div", { class: "canvas", role: "img", "aria-labelledby": `${id}-title`,
      "aria-describedby": `${id}-words` });
    this.words = el("p", { class: "hidden", id: `${id}-words` });
    this.values = lines.map(() => el("span", { class: "now" }, UNKNOWN));
    this.rows = el("tbody");
    this.node = el("figure", { class: `panel chart chart-${id}` },
      el("figcaption", {}, el("h3", { id: `${id}-title` }, title), note && el("p", {}, note)),
      this.legend(), this.canvas, this.words, this.figures(title));
    const observer = new ResizeObserver(() => this.resize());
    observer.observe(this.canvas);
    document.addEventListener("dsc-theme", () => this.recolor(), { signal });
    signal.addEventListener("abort", () => {
      observer.disconnect();
      this.plot?.destroy();
      this.plot = null;
    });
  }

  legend() {
    return el("ul", { class: "legend" }, this.lines.map((line, place) => {
      const dash = ["solid", "dashed", "dotted"][line.dash.length && (line.dash[0] > 2 ? 1 : 2)];
      const swatch = el("span", { class: `swatch ${dash}`, "aria-hidden": "true" });
      swatch.style.borderColor = `var(${line.color})`;
      return el("li", {}, swatch, `${line.name} `, this.values[place]);
    }));
  }

  figures(title) {
    const columns = ["Time", ...this.lines.map((line) => line.name)];
    const head = columns.map((text, place) => el("th", { scope: "col", class: place && "number" }, text));
    this.details = el("details", {}, el("summary", {}, "As a table"),
      el("table", {}, el("caption", { class: "hidden" }, title),
        el("thead", {}, el("tr", {}, head)), this.rows));
    this.details.addEventListener("toggle", () => this.fill());
    return this.details;
  }

  /** Shows the samples from `data.first` on. */
  update(data) {
    this.data = data;
    const { samples, first, start, end } = data;
    this.times = samples.slice(first).map((sample) => sample.time / 1_000);
    this.columns = this.lines.map((line) => {
      const column = [];
      for (let place = first; place < samples.length; place += 1) {
        column.push(this.positive(line.value(samples[place], place)));
      }
      return column;
    });
    this.range = [start / 1_000, end / 1_000];
    this.draw();
    this.show(this.plot?.cursor.idx);
    this.tell();
    this.fill();
  }

  /** A logarithmic scale has no place for zero: it begins at the least value told apart. */
  positive(value) {
    return this.log && typeof value === "number" ? Math.max(value, this.log) : value;
  }

  draw() {
    const data = [this.times, ...this.columns];
    if (this.plot) {
      this.plot.setData(data);
    } else if (this.canvas.clientWidth > 0) {
      this.plot = new uPlot(this.options(), data, this.canvas);
    }
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) {
      this.plot.setSize({ width, height: HEIGHT });
    } else if (!this.plot && this.data) {
      this.draw();
    }
  }

  recolor() {
    this.colors.clear();
    this.plot?.redraw(false, true);
  }

  color(name) {
    if (!this.colors.has(name)) {
      this.colors.set(name, color(name));
    }
    return this.colors.get(name);
  }

  options() {
    const decades = (all) => all.map((value) => (!this.log || isDecade(value) ? value : null));
    const axis = {
      stroke: () => this.color("--muted"), font: "11px system-ui, sans-serif",
      grid: { stroke: () => this.color("--grid"), width: 1 }, ticks: { show: false },
    };
    const withSeconds = () => this.range[1] - this.range[0] < 240;
    return {
      width: this.canvas.clientWidth, height: HEIGHT, padding: [8, 20, 0, 0],
      legend: { show: false }, cursor: { sync: { key: SYNC }, drag: { x: false, y: false }, y: false },
      scales: { x: { time: true, range: () => this.range }, y: this.scale() },
      axes: [
        { ...axis, space: 70, size: 28,
          values: (_, all) => all.map((time) => clock(time * 1_000, withSeconds())) },
        { ...axis, size: 58, gap: 4, filter: (_, all) => decades(all), incrs: this.whole ? WHOLE : undefined,
          grid: { ...axis.grid, filter: (_, all) => decades(all) }, values: (_, all) => all.map((value) => this.label(value)) },
      ],
      series: [{}, ...this.lines.map((line) => ({
        stroke: () => this.color(line.color), width: 1.5, dash: line.dash, points: { show: lone },
      }))],
      hooks: { draw: [(plot) => this.mark(plot)], setCursor: [(plot) => this.show(plot.cursor.idx)] },
    };
  }

  label(value) {
    return value === null || value === undefined ? "" : this.format(value);
  }

  scale() {
    if (this.log) {
      return { distr: 3, range: (_, low, high) => logRange(low, high) };
    }
    return { range: (_, low, high) => [0, high > 0 ? high * 1.1 : this.whole ? 5 : 1] };
  }

  /** A tick for every block. */
  mark(plot) {
    if (!this.ticks) {
      return;
    }
    const { ctx, bbox: { left, top, width, height } } = plot;
    const scale = devicePixelRatio;
    ctx.save();
    ctx.fillStyle = this.color("--muted");
    for (const time of this.data.blocks) {
      const x = plot.valToPos(time / 1_000, "x", true);
      if (x >= left && x <= left + width) {
        ctx.fillRect(Math.round(x), top + height - TICK_PX * scale, scale, TICK_PX * scale);
      }
    }
    ctx.restore();
  }

  /** Puts the values at `place`, or the newest ones, into the legend. */
  show(place) {
    this.columns.forEach((column, line) =>
      setText(this.values[line], this.text(place === null || place === undefined
        ? newest(column) : column[place])));
  }

  /** Names the values of the newest sample without drawing it. */
  name(samples) {
    if (!Number.isInteger(this.plot?.cursor.idx)) {
      this.lines.forEach((line, place) => {
        const value = this.positive(line.value(samples.at(-1), samples.length - 1));
        value === undefined || setText(this.values[place], this.text(value));
      });
    }
  }

  text(value) {
    return value === null || value === undefined ? UNKNOWN : this.format(value);
  }

  /** The chart in a sentence for each line. */
  tell() {
    const span = `from ${clock(this.data.start)} to ${clock(this.data.end)}`;
    const sentences = this.lines.map((line, place) => {
      const known = this.columns[place].filter((value) => value !== null && value !== undefined);
      if (known.length === 0) {
        return `${line.name}: nothing known.`;
      }
      const mean = known.reduce((all, value) => all + value, 0) / known.length;
      const highest = known.reduce((most, value) => Math.max(most, value));
      return `${line.name}: now ${this.text(newest(this.columns[place]))}, on average ` +
        `${this.text(mean)}, at most ${this.text(highest)}.`;
    });
    setText(this.words, `${span}. ${sentences.join(" ")}`);
  }

  /** A few of the values as rows, while they are looked at. */
  fill() {
    if (!this.details.open || !this.times) {
      return;
    }
    const last = this.times.length - 1;
    const step = Math.max(1, Math.floor(last / (ROWS - 1)));
    const places = [];
    for (let place = last; place >= 0 && places.length < ROWS; place -= step) {
      places.push(place);
    }
    this.rows.replaceChildren(...places.map((place) => el("tr", {},
      el("th", { scope: "row" }, clock(this.times[place] * 1_000)),
      this.columns.map((column) => el("td", { class: "number" }, this.text(column[place]))))));
  }
}

/** The last value, unless the line ends in a gap. */
function newest(column) {
  for (let place = column.length - 1; place >= 0; place -= 1) {
    if (column[place] !== undefined) {
      return column[place];
    }
  }
  return null;
}

/** Whole powers of ten around the values. */
function logRange(low, high) {
  if (!(low > 0) || !(high > 0)) {
    return [1, 10];
  }
  const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  return [10 ** from, 10 ** Math.max(to, from + 1)];
}

const isDecade = (value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;

/** Points only where a value has no neighbours to draw a line to. */
const lone = (plot) => plot.data[0].length < 3;
