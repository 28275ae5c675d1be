//! What changed between two results.
//!
//! # Invariants
//!
//! 1. Results of different schemas are never compared; of different machines or options only if
//!    that was asked for.
//! 2. A change is told from noise only where both results say how far their rounds lay apart: if
//!    these ranges overlap, the figure is the same; without them there is no verdict.

use std::fmt;

use serde::Serialize;

use super::{
    machine,
    record::Record,
    schema::{Better, Found, Ratio, Unit},
    table::Table,
};
use crate::{exit::Failure, output::Document};

/// How a figure changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Better,
    Worse,
    Same,
}

/// A figure of both results.
#[derive(Debug, Serialize)]
struct Change {
    figure: String,
    unit: &'static str,
    /// Which way it improves: `higher` or `lower`.
    better: &'static str,
    old: f64,
    new: f64,
    /// None if the old figure is zero.
    percent: Option<f64>,
    /// None if one of the results does not say how far its rounds lay apart.
    verdict: Option<Verdict>,
    #[serde(skip)]
    text: [String; 2],
}

/// A number that two results may share: a figure, or how many times a baseline it is.
struct Point {
    path: String,
    unit: Unit,
    better: Better,
    value: f64,
    spread: Option<[f64; 2]>,
}

impl Point {
    /// Least and greatest of the rounds; that of a single round is no range.
    fn range(&self) -> Option<[f64; 2]> {
        self.spread.filter(|[least, most]| least < most)
    }
}

/// All numbers of a result; ratios are better the higher they are.
fn points(record: &Record) -> Vec<Point> {
    let point = |found: Found| {
        let Found { path, value, spread, ratios, figure, .. } = found;
        let own = Point { path, unit: figure.unit, better: figure.better, value, spread };
        let ratios = ratios.into_iter().map(|ratio| {
            let Ratio { path, times: value, spread, .. } = ratio;
            Point { path, unit: Unit::Times, better: Better::Higher, value, spread }
        });
        [own].into_iter().chain(ratios)
    };
    record.schema.figures_in(&record.value).into_iter().flat_map(point).collect()
}

impl Change {
    fn new(old: &Point, new: &Point) -> Self {
        let percent = 100.0 * (new.value - old.value) / old.value;
        Self {
            figure: new.path.clone(),
            unit: new.unit.symbol(),
            better: new.better.word(),
            old: old.value,
            new: new.value,
            percent: percent.is_finite().then_some(percent),
            verdict: verdict(old, new),
            text: [old, new].map(|point| new.unit.text(point.value)),
        }
    }
}

fn verdict(old: &Point, new: &Point) -> Option<Verdict> {
    let (was, is) = old.range().zip(new.range())?;
    let is_higher = is[0] > was[1];
    let same = !is_higher && was[0] <= is[1];
    Some(match new.better {
        _ if same => Verdict::Same,
        Better::Higher if is_higher => Verdict::Better,
        Better::Lower if !is_higher => Verdict::Better,
        _ => Verdict::Worse,
    })
}

/// Which result one is.
#[derive(Debug, Serialize)]
struct Origin {
    commit: String,
    version: String,
    profile: String,
    time: String,
}

impl Origin {
    fn of(record: &Record) -> Self {
        let text = |field| record.text(field).to_owned();
        let [commit, version, profile, time] = ["commit", "version", "profile", "time"].map(text);
        Self { commit, version, profile, time }
    }
}

/// All figures of two results, side by side.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    /// The schema of both results.
    of: &'static str,
    old: Origin,
    new: Origin,
    /// Differences that were overruled.
    differences: Vec<String>,
    figures: Vec<Change>,
    only_old: Vec<String>,
    only_new: Vec<String>,
}

/// Compares two results.
pub(crate) fn compare(old: &Record, new: &Record, force: bool) -> Result<Comparison, Failure> {
    let differences = differences(old, new, force)?;
    let (before, after) = (points(old), points(new));
    let changes = after.iter().filter_map(|new| {
        let old = before.iter().find(|old| old.path == new.path)?;
        Some(Change::new(old, new))
    });
    let figures: Vec<_> = changes.collect();
    if figures.is_empty() {
        let none = "the results share no figure";
        return Err(Failure::corrupt("result-malformed", none)
            .with_hint("give two results of `dsc bench` that measured the same"));
    }
    Ok(Comparison {
        of: new.schema.name,
        old: Origin::of(old),
        new: Origin::of(new),
        differences,
        figures,
        only_old: missing(&before, &after),
        only_new: missing(&after, &before),
    })
}

/// Figures that stand `here` alone.
fn missing(here: &[Point], there: &[Point]) -> Vec<String> {
    let lacks = |point: &&Point| !there.iter().any(|other| other.path == point.path);
    here.iter().filter(lacks).map(|point| point.path.clone()).collect()
}

/// Why the results should not be compared, if `force` says to do it anyway.
fn differences(old: &Record, new: &Record, force: bool) -> Result<Vec<String>, Failure> {
    let (one, other) = (old.schema.name, new.schema.name);
    if one != other {
        let message = format!("{one} and {other} have no figures in common");
        return Err(Failure::rejected("different-schemas", message)
            .with_hint("give two results of one benchmark"));
    }
    let machines = machine::differences(&old.value["machine"], &new.value["machine"]);
    let options: Vec<_> = profile(old, new).into_iter().chain(options(old, new)).collect();
    for (code, what, found) in [
        ("different-machines", "the results are of different machines", &machines),
        ("different-options", "the results were measured with different options", &options),
    ] {
        if !force && !found.is_empty() {
            return Err(Failure::rejected(code, format!("{what}: {}", found.join("; ")))
                .with_hint(
                    "measure both on one machine, in the same way; --force compares anyway",
                ));
        }
    }
    Ok([machines, options].concat())
}

/// How the programs were built differently; a result that does not say is like any.
fn profile(old: &Record, new: &Record) -> Option<String> {
    let [old, new] = [old, new].map(|record| record.value["profile"].as_str());
    let (old, new) = old.zip(new).filter(|(old, new)| old != new)?;
    Some(format!("profile is {new}, was {old}"))
}

/// How the work that was asked for differs; what one of them did not ask for at all cannot.
fn options(old: &Record, new: &Record) -> Vec<String> {
    let difference = |name: &&str| {
        let [old, new] = [old, new].map(|record| record.value["options"].get(name));
        let (old, new) = old.zip(new).filter(|(old, new)| old != new)?;
        Some(format!("{name} is {new}, was {old}"))
    };
    new.schema.work.iter().filter_map(difference).collect()
}

impl Document for Comparison {
    const SCHEMA: &'static str = "dsc.bench.compare/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, origin) in [("old", &self.old), ("new", &self.new)] {
            let Origin { commit, version, profile, time } = origin;
            writeln!(f, "{name} {commit} ({version}, {profile} build), {time}")?;
        }
        for difference in &self.differences {
            writeln!(f, "not alike: {difference}")?;
        }
        let mut table = Table::new(&["figure", "old", "new", "change", "better is", "verdict"]);
        for change in &self.figures {
            let [old, new] = change.text.clone();
            let unknown = || "-".to_owned();
            let percent = change.percent.map_or_else(unknown, |percent| format!("{percent:+.1} %"));
            let verdict = match change.verdict {
                Some(Verdict::Better) => "better",
                Some(Verdict::Worse) => "WORSE",
                Some(Verdict::Same) => "same",
                None => "-",
            };
            let cells = [change.figure.clone(), old, new, percent];
            let words = [change.better, verdict].map(str::to_owned);
            table.row(cells.into_iter().chain(words).collect());
        }
        writeln!(f)?;
        table.text(f)?;
        for (name, figures) in [("old", &self.only_old), ("new", &self.only_new)] {
            if !figures.is_empty() {
                writeln!(f, "\nonly in {name}: {}", figures.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bench::schema::Schema;

    /// A result with fixed figures.
    pub(in super::super) fn document() -> Value {
        json!({
            "schema": "dsc.bench.proof/1", "version": "0.1.0", "commit": "0123456789ab", "profile": "release",
            "time": "2026-11-22T12:00:00Z", "command": "dsc bench proof --proof work",
            "machine": {"cpu": "Some CPU", "cores": 2, "arch": "x86_64", "os": "linux",
                "kernel": "6.1", "ram_bytes": 16_u64 << 30, "file_system": "ext4",
                "huge_pages": "madvise", "load": 0.25},
            "noise": {"others": 0.025, "stolen": 0.0},
            "options": {"rounds": 3, "threads": 2, "k": null},
            "tag": {"path": "avx2", "clock": "measured", "mhs": 80.0, "naive_mhs": 10.0, "ratio_naive": 8.0,
                "hash_many_mhs": 50.0, "ratio_hash_many": 1.6, "limit_mhs": 100.0,
                "cycles_per_8": 300.0, "bound_cycles_per_8": 257.0,
                "spread": {"mhs": [79.0, 82.0], "cycles_per_8": [290.0, 310.0]}},
            "work": {"verify_ns": 250.0, "scaling": [
                {"threads": 1, "rate": 79e6, "speedup": 1.0},
                {"threads": 2, "rate": 156e6, "speedup": 1.98}]},
        })
    }

    pub(in super::super) fn record(value: Value) -> Record {
        Record::new(value).unwrap()
    }

    fn shown(found: &Comparison) -> String {
        struct Shown<'a>(&'a Comparison);
        impl fmt::Display for Shown<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.text(f)
            }
        }
        Shown(found).to_string()
    }

    fn change<'c>(found: &'c Comparison, figure: &str) -> &'c Change {
        found.figures.iter().find(|change| change.figure == figure).unwrap()
    }

    #[test]
    fn a_change_has_a_direction_and_noise_is_none() {
        let mut value = document();
        value["tag"]["mhs"] = 100.0.into();
        value["tag"]["spread"]["mhs"] = json!([99.0, 101.0]);
        value["tag"]["cycles_per_8"] = 305.0.into();
        value["tag"]["spread"]["cycles_per_8"] = json!([304.0, 306.0]);
        let found = compare(&record(document()), &record(value.clone()), false).unwrap();
        let tag = change(&found, "tag.mhs");
        assert_eq!((tag.verdict, tag.better), (Some(Verdict::Better), "higher"));
        assert!((tag.percent.unwrap() - 25.0).abs() < 1e-9);
        assert_eq!(change(&found, "tag.cycles_per_8").verdict, Some(Verdict::Same));
        assert!(found.only_old.is_empty() && found.only_new.is_empty());
        value["tag"]["spread"]["cycles_per_8"] = json!([320.0, 330.0]);
        let found = compare(&record(document()), &record(value), false).unwrap();
        let cycles = change(&found, "tag.cycles_per_8");
        assert_eq!((cycles.verdict, cycles.better), (Some(Verdict::Worse), "lower"));
    }

    #[test]
    fn there_is_no_verdict_without_two_ranges() {
        let mut value = document();
        value["work"]["verify_ns"] = 500.0.into();
        value["tag"]["spread"]["mhs"] = json!([160.0, 160.0]);
        let found = compare(&record(document()), &record(value), false).unwrap();
        let verify = change(&found, "work.verify_ns");
        assert_eq!((verify.percent, verify.verdict), (Some(100.0), None));
        // A single round is no range.
        assert_eq!(change(&found, "tag.mhs").verdict, None);
        assert!(shown(&found).contains("+100.0 %      lower        -"), "{}", shown(&found));
    }

    #[test]
    fn a_figure_that_was_zero_changed_by_no_percentage() {
        let mut old = document();
        old["work"]["verify_ns"] = 0.into();
        let found = compare(&record(old), &record(document()), false).unwrap();
        assert_eq!(change(&found, "work.verify_ns").percent, None);
        assert_eq!(json!(change(&found, "work.verify_ns"))["percent"], Value::Null);
        assert!(!shown(&found).contains("inf"), "{}", shown(&found));
    }

    #[test]
    fn results_without_a_common_figure_are_refused() {
        let mut value = document();
        value["tag"] = Value::Null;
        value["work"] = Value::Null;
        for (old, new) in [(value.clone(), document()), (value.clone(), value)] {
            let failure = compare(&record(old), &record(new), true).unwrap_err();
            assert_eq!((failure.code(), failure.exit() as u8), ("result-malformed", 8));
        }
    }

    #[test]
    fn a_section_of_one_result_alone_is_named() {
        let mut value = document();
        value["work"] = Value::Null;
        let found = compare(&record(document()), &record(value), false).unwrap();
        assert!(found.only_old.contains(&"work.verify_ns".to_owned()), "{:?}", found.only_old);
        assert!(found.only_new.is_empty());
    }

    #[test]
    fn another_machine_is_refused_unless_forced() {
        let mut value = document();
        value["machine"]["cpu"] = "Other CPU".into();
        value["machine"]["kernel"] = "9.9".into();
        let (old, new) = (record(document()), record(value));
        let failure = compare(&old, &new, false).unwrap_err();
        assert_eq!((failure.code(), failure.exit() as u8), ("different-machines", 4));
        let message = "the results are of different machines: cpu is Other CPU, was Some CPU";
        assert_eq!(failure.message(), message);
        let forced = compare(&old, &new, true).unwrap();
        assert_eq!(forced.differences, ["cpu is Other CPU, was Some CPU"]);
    }

    #[test]
    fn other_options_are_refused_unless_forced() {
        let mut value = document();
        value["options"]["k"] = 24.into();
        let (old, new) = (record(document()), record(value));
        let failure = compare(&old, &new, false).unwrap_err();
        assert_eq!(failure.code(), "different-options");
        assert!(failure.message().ends_with("k is 24, was null"), "{}", failure.message());
        assert!(compare(&old, &new, true).is_ok());
        // More rounds are the same work, measured better.
        let mut value = document();
        value["options"]["rounds"] = 30.into();
        value["options"]["m"] = 24.into();
        assert!(compare(&record(document()), &record(value), false).is_ok());
    }

    #[test]
    fn another_build_profile_is_refused_unless_forced() {
        let mut value = document();
        value["profile"] = "debug".into();
        let (old, new) = (record(document()), record(value.clone()));
        let failure = compare(&old, &new, false).unwrap_err();
        assert_eq!((failure.code(), failure.exit() as u8), ("different-options", 4));
        assert!(failure.message().ends_with("profile is debug, was release"));
        let forced = compare(&old, &new, true).unwrap();
        assert_eq!(forced.differences, ["profile is debug, was release"]);
        value["profile"] = Value::Null;
        assert!(compare(&old, &record(value), false).is_ok());
    }

    #[test]
    fn another_schema_is_never_compared() {
        static OTHER: Schema = Schema {
            name: "dsc.bench.other/1",
            title: "Other",
            work: &[],
            sections: &[],
            grids: &[],
        };
        let old = Record { value: document(), schema: &OTHER };
        let failure = compare(&old, &record(document()), true).unwrap_err();
        assert_eq!((failure.code(), failure.exit() as u8), ("different-schemas", 4));
    }
}
