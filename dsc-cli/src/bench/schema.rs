//! What the figures of each benchmark are: where they stand, in which unit, and which way is better.
//!
//! # Invariants
//!
//! 1. A figure is declared once; text, reports and comparisons follow the declaration.
//! 2. Paths of a figure's baseline and limit count from the object that holds the figure.

use serde_json::Value;

use super::{
    load, proof,
    table::{Table, bytes_text, digits, scaled},
    tables,
};

/// Every schema of results.
pub(crate) const ALL: &[&Schema] = &[&proof::SCHEMA, &load::SCHEMA, &tables::SCHEMA];

/// The schema called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Schema> {
    ALL.iter().copied().find(|schema| schema.name == name)
}

/// The form of a result.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Name and version, such as `dsc.bench.proof/1`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The fields of `options` that change what is done; only results that agree in them are
    /// compared.
    pub(crate) work: &'static [&'static str],
    pub(crate) sections: &'static [Section],
    /// Lists that read best as tables; where there is one, people see these instead of the figures.
    pub(crate) grids: &'static [Grid],
}

/// A list of objects as tables: one for each combination of `processes` and `proof`.
#[derive(Debug)]
pub(crate) struct Grid {
    pub(crate) list: &'static str,
    pub(crate) title: &'static str,
    pub(crate) columns: &'static [Column],
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) field: &'static str,
    pub(crate) label: &'static str,
    pub(crate) unit: Unit,
}

/// Figures that belong together.
#[derive(Debug)]
pub(crate) struct Section {
    /// The field that holds it.
    pub(crate) field: &'static str,
    pub(crate) title: &'static str,
    pub(crate) figures: &'static [Figure],
}

/// One figure, or one in each object of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) field: &'static str,
    pub(crate) label: &'static str,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    pub(crate) baselines: &'static [Baseline],
    pub(crate) limit: Option<Limit>,
    pub(crate) list: Option<List>,
}

/// What a figure is set against, measured in the same run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Baseline {
    pub(crate) label: &'static str,
    /// The baseline's own figure, if it is kept.
    pub(crate) field: Option<&'static str>,
    /// How many times better the figure is.
    pub(crate) ratio: &'static str,
}

/// What the hardware allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) label: &'static str,
    pub(crate) field: &'static str,
}

/// A list of objects, told apart by some of their fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) field: &'static str,
    pub(crate) keys: &'static [&'static str],
}

/// Which way a figure improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

impl Better {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }
}

/// How a figure is written for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Millions of hashes per second.
    MegaHashes,
    /// Something per second.
    PerSecond,
    BytesPerSecond,
    Bytes,
    Nanoseconds,
    Microseconds,
    Cycles,
    /// A share of one, written as percent.
    Share,
    /// How many times something else.
    Times,
    Hertz,
    Seconds,
    /// A number whose unit the label names.
    Number,
    /// As well, to the third place after the point.
    Plain,
    /// As well, without a point.
    Whole,
    /// Yes or no, as one or zero.
    Flag,
}

impl Unit {
    /// `value` with its unit, for people.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::MegaHashes => format!("{} MH/s", digits(value)),
            Self::PerSecond => format!("{}/s", scaled(value)),
            Self::BytesPerSecond => format!("{}/s", bytes_text(value)),
            Self::Bytes => bytes_text(value),
            Self::Nanoseconds => format!("{} ns", digits(value)),
            Self::Microseconds => format!("{} us", digits(value)),
            Self::Cycles => format!("{} cycles", digits(value)),
            Self::Share => format!("{} %", digits(100.0 * value)),
            Self::Times => format!("{}x", digits(value)),
            Self::Hertz => format!("{}Hz", scaled(value)),
            Self::Seconds => format!("{value:.3} s"),
            Self::Number => digits(value),
            Self::Plain => format!("{value:.3}"),
            Self::Whole => format!("{value:.0}"),
            Self::Flag => if value > 0.0 { "yes" } else { "no" }.to_owned(),
        }
    }

    /// The unit of the number as it stands in the document.
    pub(crate) const fn symbol(self) -> &'static str {
        match self {
            Self::MegaHashes => "MH/s",
            Self::PerSecond => "1/s",
            Self::BytesPerSecond => "bytes/s",
            Self::Bytes => "bytes",
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Cycles => "cycles",
            Self::Share | Self::Times | Self::Number | Self::Plain | Self::Whole | Self::Flag => {
                "1"
            }
            Self::Hertz => "Hz",
            Self::Seconds => "s",
        }
    }
}

/// A figure with what a document says of it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where it stands: `work.scaling[threads=2].rate`.
    pub(crate) path: String,
    pub(crate) label: String,
    pub(crate) figure: Figure,
    pub(crate) value: f64,
    /// Least and greatest of the rounds.
    pub(crate) spread: Option<[f64; 2]>,
    pub(crate) ratios: Vec<Ratio>,
    pub(crate) limit: Option<f64>,
}

/// How a figure stands to one of its baselines.
#[derive(Clone, Debug)]
pub(crate) struct Ratio {
    /// Where it stands.
    pub(crate) path: String,
    pub(crate) baseline: Baseline,
    /// The baseline's own figure.
    pub(crate) value: Option<f64>,
    pub(crate) times: f64,
    pub(crate) spread: Option<[f64; 2]>,
}

impl Grid {
    /// One table for each combination of processes and proof, with what it is of.
    pub(crate) fn tables(&self, document: &Value) -> Vec<(String, Table)> {
        let rows = document[self.list].as_array().map_or(&[][..], Vec::as_slice);
        let labels: Vec<_> = self.columns.iter().map(|column| column.label).collect();
        let mut tables: Vec<(String, Table)> = Vec::new();
        for row in rows {
            let [processes, proof] =
                ["processes", "proof"].map(|key| row[key].as_str().unwrap_or("unknown"));
            let name = format!("{}: {proof}, {processes}", self.title);
            if tables.last().is_none_or(|(last, _)| *last != name) {
                tables.push((name, Table::new(&labels)));
            }
            let cells = self.columns.iter().map(|column| column.cell(row)).collect();
            if let Some((_, table)) = tables.last_mut() {
                table.row(cells);
            }
        }
        tables
    }
}

impl Column {
    fn cell(&self, row: &Value) -> String {
        let found = at(row, self.field);
        let text = || found.as_str().unwrap_or_default().to_owned();
        number(found).map_or_else(text, |number| self.unit.text(number))
    }
}

/// What stands at `path`, fields split by points; the whole for an empty path.
fn at<'v>(base: &'v Value, path: &str) -> &'v Value {
    path.split('.').filter(|field| !field.is_empty()).fold(base, |value, field| &value[field])
}

/// A number, a yes or no as one or zero, or the sum of counts by name.
fn number(value: &Value) -> Option<f64> {
    let sum = |counts: &serde_json::Map<String, Value>| {
        counts.values().filter_map(Value::as_f64).fold(0.0, |sum, count| sum + count)
    };
    let flag = |is: bool| f64::from(u8::from(is));
    let number = value.as_f64().or_else(|| value.as_bool().map(flag));
    number.or_else(|| value.as_object().map(sum))
}

impl Found {
    fn read(base: &Value, figure: Figure, path: &str, suffix: &str) -> Option<Self> {
        let number = |field: &str| number(at(base, field));
        let spread = |field: &str| {
            let spread = &base["spread"][field];
            spread[0].as_f64().zip(spread[1].as_f64()).map(|(least, most)| [least, most])
        };
        let ratio = |baseline: &Baseline| {
            Some(Ratio {
                path: format!("{path}.{}", baseline.ratio),
                baseline: *baseline,
                value: baseline.field.and_then(number),
                times: number(baseline.ratio)?,
                spread: spread(baseline.ratio),
            })
        };
        Some(Self {
            path: if path.is_empty() {
                figure.field.to_owned()
            } else {
                format!("{path}.{}", figure.field)
            },
            label: format!("{}{suffix}", figure.label),
            figure,
            value: number(figure.field)?,
            spread: spread(figure.field),
            ratios: figure.baselines.iter().filter_map(ratio).collect(),
            limit: figure.limit.and_then(|limit| number(limit.field)),
        })
    }

    /// How much of its limit the figure reaches.
    pub(crate) fn of_limit(&self) -> Option<f64> {
        let limit = self.limit?;
        Some(match self.figure.better {
            Better::Higher => self.value / limit,
            Better::Lower => limit / self.value,
        })
    }
}

impl Section {
    /// The figures of this section that `document` has, in the order of their declaration.
    pub(crate) fn figures_in(&self, document: &Value) -> Vec<Found> {
        let base = at(document, self.field);
        let found = |figure: &Figure| match figure.list {
            None => Found::read(base, *figure, self.field, "").into_iter().collect(),
            Some(list) => self.items(base, list, *figure),
        };
        self.figures.iter().flat_map(found).collect()
    }

    fn items(&self, base: &Value, list: List, figure: Figure) -> Vec<Found> {
        let items = base[list.field].as_array().map_or(&[][..], Vec::as_slice);
        let read = |item: &Value| {
            let key = |key: &&str| format!("{key}={}", item[*key].to_string().replace('"', ""));
            let keys = list.keys.iter().map(key).collect::<Vec<_>>().join(",");
            let gap = if self.field.is_empty() { "" } else { "." };
            let path = format!("{}{gap}{}[{keys}]", self.field, list.field);
            Found::read(item, figure, &path, &format!(", {}", keys.replace('=', " ")))
        };
        items.iter().filter_map(read).collect()
    }
}

impl Schema {
    /// Every figure that `document` has.
    pub(crate) fn figures_in(&self, document: &Value) -> Vec<Found> {
        self.sections.iter().flat_map(|section| section.figures_in(document)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_schema_is_found_by_its_name() {
        for schema in ALL {
            assert_eq!(find(schema.name).unwrap().title, schema.title);
        }
        assert!(find("dsc.bench.none/1").is_none());
    }

    #[test]
    fn figures_stand_in_sections_and_lists() {
        const SPEED: Figure = Figure {
            field: "rate",
            label: "rate",
            unit: Unit::PerSecond,
            better: Better::Higher,
            baselines: &[Baseline { label: "naive", field: Some("naive"), ratio: "ratio" }],
            limit: Some(Limit { label: "disk", field: "limit" }),
            list: None,
        };
        const LISTED: Figure =
            Figure { list: Some(List { field: "rows", keys: &["proof", "clients"] }), ..SPEED };
        let section = Section { field: "part", title: "Part", figures: &[SPEED, LISTED] };
        let document = json!({"part": {
            "rate": 8, "naive": 2, "ratio": 4.5, "limit": 16, "spread": {"rate": [7, 9]},
            "rows": [{"proof": "work", "clients": 2, "rate": 3}, {"proof": "space"}],
        }});
        let found = section.figures_in(&document);
        let paths: Vec<_> = found.iter().map(|found| &*found.path).collect();
        assert_eq!(paths, ["part.rate", "part.rows[proof=work,clients=2].rate"]);
        assert_eq!(found[1].label, "rate, proof work,clients 2");
        assert_eq!(found[0].spread, Some([7.0, 9.0]));
        let ratio = &found[0].ratios[0];
        assert_eq!((&*ratio.path, ratio.value, ratio.times), ("part.ratio", Some(2.0), 4.5));
        assert_eq!(found[0].of_limit(), Some(0.5));
        assert!(found[1].ratios.is_empty() && found[1].of_limit().is_none());
        assert!(section.figures_in(&json!({"part": null})).is_empty());
    }

    #[test]
    fn a_low_figure_reaches_its_limit_from_above() {
        let figure = Figure {
            field: "us",
            label: "look-up",
            unit: Unit::Microseconds,
            better: Better::Lower,
            baselines: &[],
            limit: Some(Limit { label: "disk", field: "disk" }),
            list: None,
        };
        let found = Found::read(&json!({"us": 200, "disk": 100}), figure, "s", "").unwrap();
        assert_eq!(found.of_limit(), Some(0.5));
    }

    #[test]
    fn units_are_written_for_people() {
        let cases = [
            (Unit::MegaHashes, 143.26, "143 MH/s"),
            (Unit::PerSecond, 12_345_678.0, "12.3 M/s"),
            (Unit::BytesPerSecond, 1_572_864.0, "1.50 MiB/s"),
            (Unit::Bytes, 4096.0, "4.00 KiB"),
            (Unit::Nanoseconds, 3.456, "3.46 ns"),
            (Unit::Microseconds, 107.4, "107 us"),
            (Unit::Cycles, 159.6, "160 cycles"),
            (Unit::Share, 0.9765, "97.7 %"),
            (Unit::Times, 1.5, "1.50x"),
            (Unit::Hertz, 3.1e9, "3.10 GHz"),
            (Unit::Seconds, 0.123_456, "0.123 s"),
            (Unit::Number, 123.456, "123"),
        ];
        for (unit, value, text) in cases {
            assert_eq!(unit.text(value), text);
        }
    }
}
