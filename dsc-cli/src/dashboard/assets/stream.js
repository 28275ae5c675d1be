// The one stream of events: opened after what it continues, and again whenever it is cut.
//
// Invariants: no event is taken twice or left out, for each connection says by the id of the last
// event where it goes on; when the monitor cannot go on from there (`reset`), everything is loaded
// again. Tries are spaced out, and start afresh at once when the page is looked at again.

import { get, paths } from "./api.js";

const WAIT_MS_MIN = 500;
const WAIT_MS_MAX = 10_000;
// The monitor says something at every sample: silence for so many of them is a dead connection.
const SILENT_SAMPLES = 5;
const SILENT_MS_MIN = 20_000;

export class Stream {
  constructor(state) {
    this.state = state;
    this.last = null;
    this.failures = 0;
    this.spacing = 1_000;
    this.retry = null;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    // A page that is kept for going back must not hold a connection.
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
  }

  /** Connects; what is known already is not asked for again. */
  async open() {
    this.close();
    const attempt = (this.attempt = {});
    try {
      if (this.last === null) {
        const history = await get(paths.history());
        if (attempt !== this.attempt) {
          return;
        }
        this.last = history.id;
        this.state.restart(history);
      }
      this.listen(attempt);
    } catch {
      this.lost(attempt);
    }
  }

  listen(attempt) {
    const source = (this.source = new EventSource(paths.events(this.last)));
    const take = (name, use) => source.addEventListener(name, (event) => {
      this.heard(attempt, event);
      use(JSON.parse(event.data));
    });
    source.addEventListener("open", () => this.opened(attempt));
    source.addEventListener("error", () => this.lost(attempt));
    source.addEventListener("reset", () => this.forget(attempt));
    take("sample", (sample) => this.sampled(sample));
    take("block", (block) => this.state.addBlock(block));
    take("recent", (recent) => this.state.addRecent(recent.transactions));
    this.watch(attempt);
  }

  opened(attempt) {
    if (attempt === this.attempt) {
      this.state.connected("live");
    }
  }

  heard(attempt, event) {
    this.failures = 0;
    this.last = event.lastEventId || this.last;
    this.watch(attempt);
  }

  sampled(sample) {
    const before = this.state.now?.time;
    this.spacing = before ? Math.max(1_000, sample.time - before) : this.spacing;
    this.state.addSample(sample);
  }

  /** The monitor does not know the last event: loads everything again. */
  forget(attempt) {
    this.last = null;
    this.lost(attempt);
  }

  /** Takes a long silence for the end. */
  watch(attempt) {
    clearTimeout(this.silence);
    const patience = Math.max(SILENT_MS_MIN, SILENT_SAMPLES * this.spacing);
    this.silence = setTimeout(() => this.lost(attempt), patience);
  }

  lost(attempt) {
    if (attempt !== this.attempt) {
      return;
    }
    this.close();
    const isPlanned = this.last === null && this.failures === 0;
    if (!isPlanned) {
      this.state.connected("lost");
    }
    const wait = isPlanned ? 0 : Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** (this.failures - 1));
    this.failures += 1;
    this.retry = setTimeout(() => this.open(), wait);
  }

  /** Tries at once instead of at the end of the pause. */
  hurry() {
    if (this.retry !== null) {
      this.open();
    }
  }

  close() {
    clearTimeout(this.retry);
    clearTimeout(this.silence);
    this.retry = null;
    this.attempt = null;
    this.source?.close();
    this.source = null;
  }
}
