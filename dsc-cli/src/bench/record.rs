//! Results: one JSON document each, one line each in a file.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use dsc_lib::units::Millis;
use serde::Serialize;
use serde_json::Value;

use super::{
    machine::Machine,
    noise::Noise,
    report,
    schema::{self, Schema},
};
use crate::{
    exit::Failure,
    output::{Document, json_line},
};

/// How this program was built; figures of a debug build say little.
pub(crate) const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// The figures of one benchmark.
pub(crate) trait Body: Serialize {
    const SCHEMA: &'static Schema;
}

/// A result: who measured what, and the figures.
#[derive(Debug, Serialize)]
pub(crate) struct Measured<B> {
    /// Version of this program.
    version: &'static str,
    /// The commit it was built from, or `unknown`.
    commit: &'static str,
    /// [`PROFILE`].
    profile: &'static str,
    /// When it began, in UTC.
    time: String,
    command: String,
    machine: Machine,
    /// What else the machine did, where it tells.
    noise: Option<Noise>,
    #[serde(flatten)]
    body: B,
}

impl<B: Body> Measured<B> {
    /// `noise` is that of the run that gave `body`.
    pub(crate) fn new(started: Millis, machine: Machine, noise: Option<Noise>, body: B) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("DSC_COMMIT"),
            profile: PROFILE,
            time: utc(started),
            command: command_line(),
            machine,
            noise,
            body,
        }
    }
}

impl<B: Body> Document for Measured<B> {
    const SCHEMA: &'static str = B::SCHEMA.name;

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        report::text(&Record { value, schema: B::SCHEMA }, f)
    }
}

/// This command as it was typed, the program without its path.
fn command_line() -> String {
    let quoted = |arg: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+%".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) { arg } else { format!("'{arg}'") }
    };
    let args = std::env::args_os().skip(1).map(|arg| quoted(arg.to_string_lossy().into_owned()));
    ["dsc".to_owned()].into_iter().chain(args).collect::<Vec<_>>().join(" ")
}

/// A time as RFC 3339 writes it, in whole seconds.
fn utc(time: Millis) -> String {
    let seconds = time.0 / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of the day that comes `days` after 1 January 1970.
///
/// Counts in years that begin in March, so that a leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let since = days + 719_468;
    let (era, of_era) = (since / ERA, since % ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// A result that was read back.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) value: Value,
    pub(crate) schema: &'static Schema,
}

impl Record {
    pub(crate) fn new(value: Value) -> Result<Self, Failure> {
        let name = value["schema"].as_str().unwrap_or_default();
        let schema = schema::find(name).ok_or_else(|| {
            let known: Vec<_> = schema::ALL.iter().map(|schema| schema.name).collect();
            Failure::rejected("unknown-schema", format!("`{name}` is no schema of results"))
                .with_hint(format!("known are: {}", known.join(", ")))
        })?;
        Ok(Self { value, schema })
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.value[field].as_str().unwrap_or("unknown")
    }
}

/// The results in the file at `path`, oldest first; at least one.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let records = lines.map(|(index, line)| parse(path, line, format_args!("line {}", index + 1)));
    let records: Vec<_> = records.collect::<Result<_, _>>()?;
    if records.is_empty() { Err(malformed(path, "there is no result in it")) } else { Ok(records) }
}

/// The newest result in the file at `path`; older lines may be anything.
pub(crate) fn read_last(path: &Path) -> Result<Record, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    let last = last.ok_or_else(|| malformed(path, "there is no result in it"))?;
    parse(path, last, "the last line")
}

/// The result in a line of the file at `path`; at least one figure is in it.
fn parse(path: &Path, line: &str, which: impl fmt::Display) -> Result<Record, Failure> {
    let value = serde_json::from_str(line)
        .map_err(|error| malformed(path, format_args!("{which} is no JSON: {error}")))?;
    let record = Record::new(value)?;
    if record.schema.figures_in(&record.value).is_empty() {
        return Err(malformed(path, format_args!("{which} has no figure")));
    }
    Ok(record)
}

fn malformed(path: &Path, why: impl fmt::Display) -> Failure {
    Failure::corrupt("result-malformed", format!("{}: {why}", path.display()))
        .with_hint("give a file that `--out` wrote: one JSON document a line")
}

/// Fails if nothing can be appended to the file at `path`: better before a long run than after.
/// A file that is not there is not left behind: the run may have no result.
pub(crate) fn check_appendable(path: &Path) -> Result<(), Failure> {
    let fault = |error| Failure::file("append to", path, &error);
    let is_new = !path.exists();
    OpenOptions::new().create(true).append(true).open(path).map_err(fault)?;
    if is_new { fs::remove_file(path).map_err(fault) } else { Ok(()) }
}

/// Appends `document` to the file at `path`, as one line.
pub(crate) fn append<D: Document>(path: &Path, document: &D) -> Result<(), Failure> {
    let fault = |error| Failure::file("append to", path, &error);
    // A line that was cut off stays a line of its own.
    let cut = fs::read(path).is_ok_and(|bytes| bytes.last().is_some_and(|last| *last != b'\n'));
    let mut lines = if cut { vec![b'\n'] } else { Vec::new() };
    lines.extend(json_line(document)?);
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(fault)?;
    file.write_all(&lines).and_then(|()| file.sync_all()).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(utc(Millis(seconds * 1000 + 999)), text);
        }
    }

    #[test]
    fn the_last_line_counts_and_a_cut_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let line =
            |mhs: u8| format!("{{\"schema\":\"dsc.bench.proof/1\",\"work\":{{\"mhs\":{mhs}}}}}\n");
        fs::write(&path, line(1) + &line(2) + "\n").unwrap();
        assert_eq!(read_last(&path).unwrap().value["work"]["mhs"], 2);
        assert_eq!(read(&path).unwrap().len(), 2);
        fs::write(&path, line(1) + "{\"sch").unwrap();
        assert_eq!(read_last(&path).unwrap_err().code(), "result-malformed");
        let message = read(&path).unwrap_err().message().to_owned();
        assert!(message.contains("line 2 is no JSON"), "{message}");
        fs::write(&path, "\n").unwrap();
        assert_eq!(read(&path).unwrap_err().code(), "result-malformed");
        assert_eq!(read_last(&path).unwrap_err().code(), "result-malformed");
        fs::write(&path, line(1).replace("mhs", "none")).unwrap();
        let message = read_last(&path).unwrap_err().message().to_owned();
        assert!(message.ends_with("the last line has no figure"), "{message}");
        assert_eq!(read(&path).unwrap_err().code(), "result-malformed");
        fs::write(&path, "{}").unwrap();
        assert_eq!(read_last(&path).unwrap_err().code(), "unknown-schema");
        assert_eq!(read_last(&folder.path().join("none")).unwrap_err().code(), "file-not-found");
    }
}
