// Numbers, amounts and times as people read them. Amounts are decimal texts and stay exact: they
// are cut and summed as integers of the smallest unit, never as floating-point numbers.

const UNITS_PER_COIN = 100_000_000n;
const DECIMALS = 8;
const COUNT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const DAY_MS = 86_400_000;

/** What is shown for a figure that nobody gave. */
export const UNKNOWN = "\u2013";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (isNumber(value) ? COUNT.format(value) : UNKNOWN);

/** `1 block`, `2 blocks`. */
export const counted = (value, one, many = `${one}s`) =>
  `${count(value)} ${value === 1 ? one : many}`;

/** A decimal text with separators; anything else is shown as it came. */
export function amount(text) {
  if (text === null || text === undefined) {
    return UNKNOWN;
  }
  const parts = /^(-?)(\d+)(\.\d+)?$/.exec(text);
  if (!parts) {
    return String(text);
  }
  const whole = parts[2].replace(/\B(?=(\d{3})+$)/g, ",");
  return `${parts[1]}${whole}${parts[3] ?? ""}`;
}

/** A decimal text as above, cut after two decimals where there is little room. */
export const rounded = (text) => amount(text).replace(/(\.\d\d)\d+$/, "$1");

/** A decimal text as an integer of the smallest unit. */
export function units(text) {
  const parts = /^(\d+)(?:\.(\d{1,8}))?$/.exec(text ?? "");
  if (!parts) {
    return null;
  }
  return BigInt(parts[1]) * UNITS_PER_COIN + BigInt((parts[2] ?? "").padEnd(DECIMALS, "0"));
}

/** An integer of the smallest unit as a decimal text. */
export function coins(value) {
  const size = value < 0n ? -value : value;
  const rest = String(size % UNITS_PER_COIN).padStart(DECIMALS, "0").replace(/0+$/, "");
  return `${value < 0n ? "-" : ""}${size / UNITS_PER_COIN}${rest && `.${rest}`}`;
}

/** Sums decimal texts; null if one of them is none. */
export function sum(texts) {
  const values = texts.map(units);
  return values.includes(null) ? null : coins(values.reduce((all, value) => all + value, 0n));
}

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

/** Three digits and a prefix: `12.3 k`. */
export function short(value) {
  if (!isNumber(value)) {
    return UNKNOWN;
  }
  const [size, prefix] = PREFIXES.find(([size]) => Math.abs(value) >= size) ?? [1, ""];
  return `${digits(value / size)}${prefix && ` ${prefix}`}`;
}

/** As many decimals as make three digits, none for integers. */
function digits(value) {
  if (Number.isInteger(value)) {
    return String(value);
  }
  const size = Math.abs(value);
  return value.toFixed(size < 0.01 ? 4 : size < 1 ? 3 : size < 10 ? 2 : size < 100 ? 1 : 0);
}

export function bytes(value) {
  if (!isNumber(value)) {
    return UNKNOWN;
  }
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (value >= 1024 && place < names.length - 1) {
    value /= 1024;
    place += 1;
  }
  return `${digits(value)} ${names[place]}`;
}

export const percent = (share) => (isNumber(share) ? `${(share * 100).toFixed(1)} %` : UNKNOWN);

/** A span of milliseconds. */
export function span(ms) {
  if (!isNumber(ms)) {
    return UNKNOWN;
  }
  if (ms < 1_000) {
    return ms < 10 && ms > 0 ? `${digits(ms)} ms` : `${Math.round(ms)} ms`;
  }
  if (ms < 60_000) {
    return `${(ms / 1_000).toFixed(1)} s`;
  }
  return coarse(ms);
}

/** A span in whole seconds, minutes, hours or days. */
export function coarse(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) {
    return `${seconds} s`;
  }
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) {
    return `${minutes} min ${seconds % 60} s`;
  }
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** How long ago it was, as of `now`. */
export function ago(time, now) {
  if (!isNumber(time)) {
    return UNKNOWN;
  }
  return now - time < 1_000 ? "just now" : `${coarse(now - time)} ago`;
}

const two = (value) => String(value).padStart(2, "0");

/** Time of day. */
export function clock(ms, withSeconds = true) {
  const date = new Date(ms);
  const seconds = withSeconds ? `:${two(date.getSeconds())}` : "";
  return `${two(date.getHours())}:${two(date.getMinutes())}${seconds}`;
}

export function moment(ms) {
  if (!isNumber(ms)) {
    return UNKNOWN;
  }
  const date = new Date(ms);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(ms)}`;
}

/** Time of day, with the date if it was long ago. */
export const when = (ms, now) =>
  (isNumber(ms) && Math.abs(now - ms) < DAY_MS / 2 ? clock(ms) : moment(ms));

/** The two ends of a long id. */
export function brief(text, head = 8, tail = 6) {
  const whole = String(text ?? UNKNOWN);
  return whole.length > head + tail + 1 ? `${whole.slice(0, head)}\u2026${whole.slice(-tail)}`
    : whole;
}

// Characters that are not seen, or that change the direction of what stands beside them.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

/** Text of strangers with every unseen character spelled out. */
export const visible = (text) =>
  text.replace(UNSEEN, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);

/** Bytes in hexadecimal as text, if they are UTF-8; null otherwise. */
export function textOf(hex) {
  if (!/^([0-9a-f]{2})*$/.test(hex)) {
    return null;
  }
  const raw = Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    return null;
  }
}
