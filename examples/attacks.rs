//! Attacks on the proofs at small size: what each saves and what it costs, in hashes and passes.
//!
//! Prints the tables of `docs/proofs.md` as Markdown and, if a folder is named, writes the plots
//! there. It measures no time and every random choice comes from a seed, so the output is the same
//! everywhere.
//!
//! ```text
//! cargo run --release --package dsc-examples --example attacks -- docs/proofs
//! ```

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "statistics over small tables"
)]

#[path = "attacks/grind.rs"]
mod grind;
#[path = "attacks/hints.rs"]
mod hints;
#[path = "attacks/nested.rs"]
mod nested;
#[path = "attacks/prices.rs"]
mod prices;
#[path = "attacks/quality.rs"]
mod quality;
#[path = "attacks/rainbow.rs"]
mod rainbow;
#[path = "attacks/report.rs"]
mod report;
#[path = "attacks/single.rs"]
mod single;
#[path = "attacks/table.rs"]
mod table;
#[path = "attacks/vault.rs"]
mod vault;
#[path = "attacks/walks.rs"]
mod walks;

fn main() -> anyhow::Result<()> {
    let output = report::Output(std::env::args_os().nth(1).map(Into::into));
    quality::run(&output)?;
    single::run(&output)?;
    nested::run();
    hints::run(&output)?;
    vault::run();
    walks::run(&output)?;
    grind::run();
    prices::run();
    Ok(())
}
