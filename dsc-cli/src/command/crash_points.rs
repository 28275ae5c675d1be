//! `dsc crash-points`: the steps at which a test can make a role die.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    crash::Point,
    exit::Failure,
    output::{Document, Output},
};

#[derive(Serialize)]
struct Points {
    points: Vec<Named>,
}

#[derive(Serialize)]
struct Named {
    name: String,
    summary: String,
}

impl Document for Points {
    const SCHEMA: &'static str = "dsc.crash_points/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.points.iter().try_for_each(|Named { name, summary }| writeln!(f, "{name:30}{summary}"))
    }
}

/// Standard output is the list.
pub(crate) fn run(output: &Output) -> Result<(), Failure> {
    let named = |value: clap::builder::PossibleValue| Named {
        name: value.get_name().to_owned(),
        summary: value.get_help().map(ToString::to_string).unwrap_or_default(),
    };
    let values = Point::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    output.document(&Points { points: values.map(named).collect() })
}
