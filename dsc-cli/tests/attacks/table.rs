//! The table of all attacks: what honest clients waited, and what the processes took.

use std::{
    env,
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, Write as _},
    sync::Once,
    time::Duration,
};

use crate::{figures::Figures, honest::Notes};

/// What an honest client should not wait longer than.
const GOAL: Duration = Duration::from_millis(100);
const HEADER: &str = "\
| attack | seconds | honest requests | within 100 ms | 99 of 100 within | longest | no room at first \
| blockchain: MiB, files, threads before/at most/after | pool | metronome | monitor | validator |
|---|---|---|---|---|---|---|---|---|---|---|---|
";

static HEAD: Once = Once::new();

/// Figures of every process before an attack, at most and after it.
pub(crate) struct Course {
    pub(crate) before: [Figures; 5],
    pub(crate) most: [Figures; 5],
    pub(crate) after: [Figures; 5],
}

/// Writes the row of an attack to standard error, and to the file that `DSC_ATTACK_TABLE` names.
pub(crate) fn add(name: &str, took: Duration, notes: &Notes, course: &Course) {
    let row = row(name, took, notes, course);
    let mut head = "";
    HEAD.call_once(|| head = HEADER);
    let text = format!("{head}{row}\n");
    // Not by a macro: what those print is shown for failed tests only.
    io::stderr().write_all(text.as_bytes()).unwrap();
    if let Some(path) = env::var_os("DSC_ATTACK_TABLE") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

fn row(name: &str, took: Duration, notes: &Notes, course: &Course) -> String {
    let mut times = notes.times.clone();
    times.sort_unstable();
    let count = times.len();
    let quick = times.partition_point(|time| *time <= GOAL);
    let share = (1000 * quick).checked_div(count).unwrap_or_default();
    let share = format!("{}.{} %", share / 10, share % 10);
    let most = times.get(count * 99 / 100).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    let mut row = format!(
        "| {name} | {:.1} | {count} | {share} | {} | {} | {} | ",
        took.as_secs_f64(),
        millis(most),
        millis(longest),
        notes.busy,
    );
    let Course { before, most, after } = course;
    for index in 0..before.len() {
        let of = |pick: fn(&Figures) -> u64| {
            let [a, b, c] = [before, most, after].map(|figures| pick(&figures[index]));
            format!("{a}/{b}/{c}")
        };
        let figures =
            [of(|figures| figures.rss_bytes >> 20), of(|f| f.files), of(|f| f.threads)].join(" ");
        let _ = write!(row, "{figures} | ");
    }
    row
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
