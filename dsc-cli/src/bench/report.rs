//! Results for people: text, Markdown, CSV and a chart.

use std::fmt;

use serde_json::Value;

use super::{
    chart, machine,
    record::Record,
    schema::{Found, Ratio, Schema, Section, Unit},
    table::{Table, digits},
};

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Markdown,
    Csv,
    Svg,
}

impl Format {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Csv => "csv",
            Self::Svg => "svg",
        }
    }
}

const HEAD: [&str; 9] =
    ["figure", "median", "rounds", "baseline", "", "times", "limit", "", "of limit"];

/// Writes `records` in `format`.
pub(crate) fn render(records: &[Record], format: Format) -> String {
    match format {
        Format::Markdown => Shown(|f: &mut fmt::Formatter<'_>| markdown(records, f)).to_string(),
        Format::Csv => csv(records),
        Format::Svg => chart::svg(records),
    }
}

/// Something to write by a function.
struct Shown<F>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Shown<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

/// Where a result comes from, by name.
fn origin(record: &Record) -> [(&'static str, String); 6] {
    let [commit, version, profile] = ["commit", "version", "profile"].map(|name| record.text(name));
    let version = format!("{commit} ({version}, {profile} build)");
    let options = record.value["options"].as_object();
    let options = options.into_iter().flatten().filter(|(_, value)| !value.is_null());
    let options: Vec<_> = options.map(|(name, value)| format!("{name} {value}")).collect();
    [
        ("machine", machine::line(&record.value["machine"])),
        ("noise", noise(&record.value["noise"])),
        ("commit", version),
        ("command", record.text("command").to_owned()),
        ("options", options.join(", ").replace('"', "")),
        ("time", record.text("time").to_owned()),
    ]
}

fn noise(noise: &Value) -> String {
    let share = |field: &str| noise[field].as_f64().map(|share| format!("{:.1} %", 100.0 * share));
    match share("others").zip(share("stolen")) {
        Some((others, stolen)) => {
            format!("other programs took {others} of the processors, the host {stolen}")
        }
        None => "unknown".to_owned(),
    }
}

/// Writes one result as aligned text.
pub(crate) fn text(record: &Record, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (name, value) in origin(record) {
        writeln!(f, "{name:<8} {value}")?;
    }
    for (title, table) in tables(record) {
        writeln!(f, "\n{title}")?;
        table.text(f)?;
    }
    Ok(())
}

/// What people see of a result: its tables, or its figures section by section.
fn tables(record: &Record) -> Vec<(String, Table)> {
    let Schema { sections, grids, .. } = record.schema;
    let grids = grids.iter().flat_map(|grid| grid.tables(&record.value));
    let tables = grids.map(|(title, table)| (title, table.trimmed()));
    let of_section = |section: &&Section| {
        let mut figures = section.figures_in(&record.value);
        // Those of lists are in their tables.
        figures.retain(|found| record.schema.grids.is_empty() || found.figure.list.is_none());
        let table = table(&figures);
        (!table.is_empty()).then(|| (title(section, record), table))
    };
    tables.chain(sections.iter().filter_map(|section| of_section(&section))).collect()
}

fn markdown(records: &[Record], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, record) in records.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        writeln!(f, "{gap}## {}, {}\n", record.schema.title, record.text("time"))?;
        for (name, value) in origin(record) {
            writeln!(
                f,
                "- {name}: {}",
                if name == "command" { format!("`{value}`") } else { value }
            )?;
        }
        for (title, table) in tables(record) {
            writeln!(f, "\n### {title}\n")?;
            table.markdown(f)?;
        }
    }
    Ok(())
}

/// The title of a section, with its words: `path avx2, cycles from ...`.
fn title(section: &Section, record: &Record) -> String {
    let fields = record.value[section.field].as_object();
    let words = fields.into_iter().flatten().filter_map(|(name, value)| {
        Some(format!("{} {}", name.replace('_', " "), value.as_str()?))
    });
    let words = words.collect::<Vec<_>>().join(", ");
    let gap = if words.is_empty() { "" } else { ": " };
    format!("{}{gap}{words}", section.title)
}

fn table(figures: &[Found]) -> Table {
    let mut table = Table::new(&HEAD);
    for found in figures {
        let unit = found.figure.unit;
        let text = |value: Option<f64>| value.map_or_else(String::new, |value| unit.text(value));
        let against = |ratio: &Ratio| {
            [
                ratio.baseline.label.to_owned(),
                text(ratio.value),
                format!("{}x", digits(ratio.times)),
            ]
        };
        let mut ratios = found.ratios.iter().map(against);
        let limit = found.figure.limit.map_or("", |limit| limit.label);
        let own = [found.label.clone(), unit.text(found.value), rounds(found)];
        let first = ratios.next().unwrap_or_default();
        let share = found.of_limit().map(|share| format!("{:.0} %", 100.0 * share));
        let limits = found.limit.map(|_| [limit.to_owned(), text(found.limit)]).unwrap_or_default();
        let cells = own.into_iter().chain(first).chain(limits).chain(share);
        table.row(cells.collect());
        for ratio in ratios {
            table.row([const { String::new() }; 3].into_iter().chain(ratio).collect());
        }
    }
    table.trimmed()
}

/// How far the rounds lie from their median.
fn rounds(found: &Found) -> String {
    let percent = |value: f64| format!("{:+.1} %", 100.0 * (value / found.value - 1.0));
    found.spread.map_or_else(String::new, |spread| spread.map(percent).join(" to "))
}

/// One line a figure; numbers in full.
fn csv(records: &[Record]) -> String {
    let mut lines =
        vec!["schema,time,commit,cpu,cores,figure,unit,value,least,most,baseline,limit".to_owned()];
    for record in records {
        let machine = &record.value["machine"];
        let origin = [
            record.schema.name,
            record.text("time"),
            record.text("commit"),
            machine["cpu"].as_str().unwrap_or("unknown"),
            &machine["cores"].to_string(),
        ]
        .map(quoted)
        .join(",");
        for found in record.schema.figures_in(&record.value) {
            lines.extend(csv_rows(&found).into_iter().map(|row| format!("{origin},{row}")));
        }
    }
    lines.join("\n") + "\n"
}

/// The figure, and how many times each baseline it is.
fn csv_rows(found: &Found) -> Vec<String> {
    let row = |path: &str, unit: Unit, value: f64, spread: Option<[f64; 2]>, of: [_; 2]| {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let [least, most] = spread.map_or([None; 2], |spread| spread.map(Some));
        let words = [quoted(path), unit.symbol().to_owned()].into_iter();
        words
            .chain([Some(value), least, most, of[0], of[1]].map(number))
            .collect::<Vec<_>>()
            .join(",")
    };
    let unit = found.figure.unit;
    let own = row(&found.path, unit, found.value, found.spread, [None, found.limit]);
    let ratios = found
        .ratios
        .iter()
        .map(|ratio| row(&ratio.path, Unit::Times, ratio.times, ratio.spread, [ratio.value, None]));
    [own].into_iter().chain(ratios).collect()
}

/// A cell of CSV, in quotes if it has to be (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::compare::tests::{document, record};

    #[test]
    fn markdown_is_what_it_was() {
        let expected = "\
## Proof engines, 2026-11-22T12:00:00Z

- machine: Some CPU, 2 cores, 16.0 GiB RAM, linux 6.1, ext4, huge pages: madvise, load before 0.25
- noise: other programs took 2.5 % of the processors, the host 0.0 %
- commit: 0123456789ab (0.1.0, release build)
- command: `dsc bench proof --proof work`
- options: rounds 3, threads 2
- time: 2026-11-22T12:00:00Z

### The bulk hash, one core: clock measured, path avx2

| figure | median | rounds | baseline |  | times | limit |  | of limit |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
| search for the least | 80.0 MH/s | -1.2 % to +2.5 % | blake3::hash | 10.0 MH/s | 8.00x | \
instructions | 100 MH/s | 80 % |
|  |  |  | hash_many | 50.0 MH/s | 1.60x |  |  |  |
| eight tags | 300 cycles | -3.3 % to +3.3 % |  |  |  | instructions | 257 cycles | 86 % |

### Proof of work

| figure | median | baseline | times |
|---|---:|---:|---:|
| search, threads 1 | 79.0 M/s | one thread | 1.00x |
| search, threads 2 | 156 M/s | one thread | 1.98x |
| verify | 250 ns |  |  |
";
        assert_eq!(render(&[record(document())], Format::Markdown), expected);
    }

    #[test]
    fn csv_has_a_line_for_each_figure() {
        let csv = render(&[record(document())], Format::Csv);
        let columns = csv.lines().next().unwrap().split(',').count();
        assert!(csv.lines().all(|line| line.split(',').count() == columns), "{csv}");
        let search = ",Some CPU,2,tag.mhs,MH/s,80,79,82,,100";
        assert!(csv.lines().any(|line| line.ends_with(search)), "{csv}");
        assert!(csv.contains(",tag.ratio_naive,1,8,,,10,\n"), "{csv}");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
