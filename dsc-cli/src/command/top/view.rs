//! How a state looks, on a canvas of any size or as plain lines.

use super::{
    canvas::{Canvas, Style},
    model::{Block, Sample, State, Transaction, Validator, number},
};

/// Bars of a chart, from nothing to the largest value in it.
const BARS: [char; 8] = [
    '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}',
];
/// A sample older than this is no news.
const FRESH_MS: u64 = 5_000;
/// Columns of a chart's name and of its last value.
const NAME_WIDTH: usize = 18;
const VALUE_WIDTH: usize = 12;
const BAR_WIDTH: u64 = 10;
const KEYS: &str = "q quits";
const RIBBON: &str = "W work  S space  M memory  . nobody  small: without transactions";

/// Draws everything that fits; `now` is in ms since the Unix epoch.
pub(super) fn draw(canvas: &mut Canvas, state: &State, now: u64) {
    let Some(bottom) = canvas.height().checked_sub(1) else { return };
    let sample = state.now.clone().unwrap_or_default();
    let mut y = 0;
    for (text, style) in header(state, &sample, now) {
        canvas.put(0, y, &text, style);
        y += 1;
    }
    y = charts(canvas, state, y + 1);
    y = ribbon(canvas, state, &sample, now, y + 1);
    y += 1;
    // The recent transactions have what the validators leave, and at least a third.
    let room = bottom.saturating_sub(y);
    let rows = sample.validators.len().min((room * 2 / 3).saturating_sub(2));
    y = table(
        canvas,
        y,
        VALIDATORS,
        sample
            .validators
            .iter()
            .take(rows)
            .map(|v| (validator(v, now), if v.alive { Style::Plain } else { Style::Bad })),
    );
    let rows = bottom.saturating_sub(y + 2);
    let recent = state.recent.iter().take(rows);
    table(canvas, y + 1, RECENT, recent.map(|row| (transaction(row), state_style(&row.state))));
    footer(canvas, bottom, state, &sample);
}

/// The same as text, as of the last sample.
pub(super) fn plain(state: &State) -> String {
    let sample = state.now.clone().unwrap_or_default();
    let now = sample.time;
    let mut lines: Vec<String> =
        header(state, &sample, now).into_iter().map(|(text, _)| text).collect();
    let letters: String = state.blocks.iter().map(|block| letter(block).0).collect();
    lines.push(format!("blocks, newest first: {letters} ({RIBBON})"));
    lines.push(VALIDATORS.to_owned());
    lines.extend(sample.validators.iter().map(|v| validator(v, now)));
    lines.push(RECENT.to_owned());
    lines.extend(state.recent.iter().take(10).map(transaction));
    lines.extend(sample.faults.iter().map(|fault| format!("no answer: {}", clean(fault))));
    lines.push(String::new());
    lines.join("\n")
}

/// What is known, or a question mark.
fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Text of others: one column for one character.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() && !c.is_control() { c } else { '?' }).collect()
}

fn header(state: &State, sample: &Sample, now: u64) -> Vec<(String, Style)> {
    let rate = state.rates(|sample| sample.transactions).pop().flatten();
    let (tip, style) = tip(sample, now);
    let alive = sample.validators_alive;
    let title = if is_stale(state, now) {
        let age = seconds(now.saturating_sub(sample.time));
        format!("NOTHING HEARD FOR {age}; as it was then:")
    } else {
        "dsc top".to_owned()
    };
    let style = if is_stale(state, now) { Style::Bad } else { style };
    let last = sample.final_height.map_or_else(String::new, |last| format!(" (final {last})"));
    let first = format!(
        "{title}  {}  block {}{last}  {tip}  {} tx/s  pool {} + {}  {alive} of {} validators",
        clean(&state.network),
        known(sample.height),
        known(rate.map(|rate| format!("{rate:.1}"))),
        known(sample.pool_submitted),
        known(sample.pool_unconfirmed),
        sample.validators.len().max(usize::try_from(alive).unwrap_or(usize::MAX)),
    );
    let sums = match sample.supply_ok {
        Some(true) => "balances add up",
        Some(false) => "BALANCES DO NOT ADD UP",
        None => "balances not checked yet",
    };
    let supply = known(sample.supply.as_deref().map(clean));
    let second = format!("{} addresses  {supply} coins, {sums}", known(sample.accounts));
    let second_style = if sample.supply_ok == Some(false) { Style::Bad } else { Style::Plain };
    vec![(first, style), (second, second_style)]
}

/// How old the newest block is, held against the planned time of one.
fn tip(sample: &Sample, now: u64) -> (String, Style) {
    let Some(age) = sample.tip_time.map(|time| now.saturating_sub(time)) else {
        return ("tip ?".to_owned(), Style::Bold);
    };
    let Some(interval) = sample.interval else {
        return (format!("tip {}", seconds(age)), Style::Bold);
    };
    let (word, style) = if age <= interval.saturating_add(interval / 2) {
        ("", Style::Good)
    } else if age <= interval.saturating_mul(3) {
        (" slow", Style::Warning)
    } else {
        (" LATE", Style::Bad)
    };
    (format!("tip {} of {}{word}", seconds(age), seconds(interval)), style)
}

fn charts(canvas: &mut Canvas, state: &State, mut y: usize) -> usize {
    let latency = state.samples.iter().map(|s| s.latency.as_ref().map(|latency| latency.p50));
    let pool = state.samples.iter().map(|sample| sample.pool_submitted.map(number));
    let charts = [
        ("submitted tx/s", state.rates(|sample| sample.submitted_total)),
        ("confirmed tx/s", state.rates(|sample| sample.transactions)),
        ("pool", pool.collect()),
        ("confirmed in ms", latency.collect()),
    ];
    for (name, values) in charts {
        canvas.put(0, y, name, Style::Dim);
        let last = known(values.last().copied().flatten().map(|value| format!("{value:.1}")));
        canvas.put(NAME_WIDTH, y, &last, Style::Bold);
        let start = NAME_WIDTH + VALUE_WIDTH;
        let bars = bars(&values, canvas.width().saturating_sub(start));
        canvas.put(start, y, &bars, Style::Good);
        y += 1;
    }
    y
}

/// The last values as bars, the newest at the right; what is not known is a gap.
fn bars(values: &[Option<f64>], width: usize) -> String {
    let shown = values.get(values.len().saturating_sub(width)..).unwrap_or_default();
    let most = shown.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if most > 0.0 => {
            let level = (value / most * 7.0).round().clamp(0.0, 7.0);
            BARS.iter()
                .zip(0..)
                .find(|(_, at)| f64::from(*at) >= level)
                .map_or(' ', |(bar, _)| *bar)
        }
        Some(_) => BARS[0],
    };
    shown.iter().map(bar).collect()
}

/// The next block filling, and the past ones, newest first.
fn ribbon(canvas: &mut Canvas, state: &State, sample: &Sample, now: u64, y: usize) -> usize {
    let mut x = canvas.put(0, y, &next_block(sample, now), Style::Bold) + 2;
    for block in &state.blocks {
        let (letter, style) = letter(block);
        x = canvas.put(x, y, &letter.to_string(), style) + 1;
    }
    canvas.put(0, y + 1, RIBBON, Style::Dim);
    y + 2
}

fn next_block(sample: &Sample, now: u64) -> String {
    let Some(round) = &sample.round else { return "next block ?".to_owned() };
    let left = round.closes_in.saturating_sub(now.saturating_sub(sample.time));
    let interval = sample.interval.unwrap_or(0).max(left).max(1);
    let filled = BAR_WIDTH - (left.saturating_mul(BAR_WIDTH) / interval).min(BAR_WIDTH);
    let bar: String = (0..BAR_WIDTH).map(|at| if at < filled { '#' } else { '-' }).collect();
    format!("next {} [{bar}] {}", round.height, seconds(left))
}

/// The engine that won a block; small if there is nothing in the block.
fn letter(block: &Block) -> (char, Style) {
    let (letter, style) = match block.winner.as_deref() {
        Some("work") => ('W', Style::Work),
        Some("space") => ('S', Style::Space),
        Some("memory") => ('M', Style::Memory),
        Some(_) => ('X', Style::Plain),
        None => ('.', Style::Dim),
    };
    (if block.transactions == 0 { letter.to_ascii_lowercase() } else { letter }, style)
}

const VALIDATORS: &str =
    "validator  proof    won   share      tries/s     RAM MiB    disk MiB  seen";

fn validator(of: &Validator, now: u64) -> String {
    let Validator { fingerprint, proof, won, share, rate, ram_bytes, disk_bytes, .. } = of;
    let seen = seconds(now.saturating_sub(of.last_seen));
    let state = if of.alive { "ago" } else { "ago: GONE" };
    let (id, proof) = (clean(&fingerprint.chars().take(8).collect::<String>()), clean(proof));
    let (share, ram, disk) = (share * 100.0, ram_bytes >> 20, disk_bytes >> 20);
    format!(
        "{id:<10} {proof:<7} {won:>4} {share:>6.1}% {rate:>12.0} {ram:>11} {disk:>11}  {seen} {state}"
    )
}

const RECENT: &str = "transaction       state         block  amount";

fn transaction(row: &Transaction) -> String {
    let Transaction { id, amount, payments, state, height } = row;
    let id = clean(&id.chars().take(16).collect::<String>());
    let several = if *payments > 1 { format!(" in {payments} payments") } else { String::new() };
    let height = height.map(|height| height.to_string()).unwrap_or_default();
    format!("{id:<17} {:<11} {height:>7}  {}{several}", clean(state), clean(amount))
}

fn state_style(state: &str) -> Style {
    match state {
        "confirmed" => Style::Good,
        "rejected" | "expired" => Style::Bad,
        _ => Style::Warning,
    }
}

/// A heading and its rows; returns the line behind them.
fn table(
    canvas: &mut Canvas,
    y: usize,
    heading: &str,
    rows: impl Iterator<Item = (String, Style)>,
) -> usize {
    canvas.put(0, y, heading, Style::Bold);
    let mut y = y + 1;
    for (text, style) in rows {
        canvas.put(0, y, &text, style);
        y += 1;
    }
    y
}

/// What is wrong, or else what the keys do.
fn footer(canvas: &mut Canvas, y: usize, state: &State, sample: &Sample) {
    let lost = state.lost.as_ref().map(|reason| format!("monitor: {}", clean(reason)));
    let faults = lost.into_iter().chain(sample.faults.iter().map(|fault| clean(fault)));
    let faults: Vec<_> = faults.collect();
    let blank = " ".repeat(canvas.width());
    canvas.put(0, y, &blank, Style::Plain);
    if faults.is_empty() {
        canvas.put(0, y, KEYS, Style::Dim);
    } else {
        canvas.put(0, y, &format!("no answer: {}  ({KEYS})", faults.join("; ")), Style::Bad);
    }
}

/// Whether figures are too old to be taken for the present ones.
fn is_stale(state: &State, now: u64) -> bool {
    let time = state.now.as_ref().map_or(0, |sample| sample.time);
    state.lost.is_some() || now.saturating_sub(time) > FRESH_MS
}

#[cfg(test)]
mod tests;
