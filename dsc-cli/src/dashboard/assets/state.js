// What the page knows of the network: an hour of samples, the newest blocks and transactions.
//
// Invariants: samples are in the order of time and at most SAMPLES_MAX; a block and a transaction
// are there once. Events: `sample`, `block`, `recent`, `reset`, `connection`, `tick`.

export const SAMPLES_MAX = 3_600;
const BLOCKS_MAX = 60;
const RECENT_MAX = 50;
const OFFSETS_MAX = 30;
const TICK_MS = 250;

export class State extends EventTarget {
  constructor() {
    super();
    this.connection = { state: "starting", since: null };
    this.clear();
    setInterval(() => document.hidden || this.tell("tick"), TICK_MS);
    document.addEventListener("visibilitychange", () => document.hidden || this.tell("tick"));
  }

  clear() {
    Object.assign(this, {
      network: null, chain: null, development: false,
      samples: [], now: null, blocks: [], recent: [], offsets: [],
    });
  }

  /** Calls `listener` for each of `names` until `signal` ends. */
  on(names, listener, signal) {
    for (const name of [names].flat()) {
      this.addEventListener(name, listener, { signal });
    }
  }

  tell(name) {
    this.dispatchEvent(new Event(name));
  }

  /** Takes the answer of `/v1/history` in place of all that was known. */
  restart(history) {
    this.clear();
    const { network, chain, development } = history;
    Object.assign(this, { network, chain, development });
    this.samples = history.samples.slice(-SAMPLES_MAX);
    this.now = history.now;
    this.blocks = history.blocks.slice(0, BLOCKS_MAX);
    this.recent = history.recent.slice(0, RECENT_MAX);
    if (this.now) {
      this.offsets.push(this.now.time - Date.now());
    }
    this.tell("reset");
  }

  addSample(sample) {
    // A clock that was set back: what it takes back is drawn over.
    while (this.samples.length > 0 && this.samples.at(-1).time >= sample.time) {
      this.samples.pop();
    }
    const { validators: _, servers: __, ...kept } = sample;
    this.samples.push(kept);
    if (this.samples.length > SAMPLES_MAX) {
      this.samples.shift();
    }
    this.now = sample;
    this.offsets.push(sample.time - Date.now());
    if (this.offsets.length > OFFSETS_MAX) {
      this.offsets.shift();
    }
    this.tell("sample");
  }

  addBlock(block) {
    const others = this.blocks.filter((known) => known.height !== block.height);
    this.blocks = [block, ...others].sort((a, b) => b.height - a.height).slice(0, BLOCKS_MAX);
    this.tell("block");
  }

  /** Takes rows that are new or changed; new ones go first. */
  addRecent(rows) {
    const changed = new Map(rows.map((row) => [row.id, row]));
    const kept = this.recent.map((row) => {
      const newer = changed.get(row.id);
      changed.delete(row.id);
      return newer ?? row;
    });
    this.recent = [...changed.values(), ...kept].slice(0, RECENT_MAX);
    this.tell("recent");
  }

  connected(state, since = Date.now()) {
    if (this.connection.state !== state) {
      this.connection = { state, since };
      this.tell("connection");
    }
  }

  get isLive() {
    return this.connection.state === "live";
  }

  /** The monitor's time: what came with the least delay says how far its clock is from ours. */
  clock() {
    return Date.now() + (this.offsets.length ? Math.max(...this.offsets) : 0);
  }

  /** When the newest block was made. */
  tipTime() {
    const times = [this.now?.tip_time, this.now && this.blocks[0]?.time].filter(Boolean);
    return times.length ? Math.max(...times) : null;
  }
}
