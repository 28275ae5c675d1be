//! `dsc engine`: whether the engine of a cluster is safe, how it stands, a chain put into it, and what
//! nobody can ever read given up.

mod copy;
mod give_up;

use std::{env, fmt};

use dsc_lib::cluster::lease;
use serde::Serialize;

use super::{Context, role::ChainArgs};
use crate::{
    engine::{
        Settings,
        nats::{
            measure::{self, Measured},
            node::Node,
            safety,
            status::{self, Status, StreamStatus},
        },
    },
    exit::{Exit, Failure},
    http::Client,
    network,
    output::{Document, note},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Look whether every node keeps what it acknowledges, and connect to one
    Check(Check),
    /// Show who leads and how far everybody is
    Status(ChainArgs),
    /// Put the blocks of a ledger into the engine, where its log ends before them
    Copy(copy::Copy),
    /// Give up an entry of the log whose pieces nobody has, so that all servers go on after it
    GiveUp(give_up::GiveUp),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// Measure what appending takes, on streams that are removed afterwards
    #[arg(long)]
    measure: bool,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let settings = Settings::named(&context.config)?;
    match &args.verb {
        Verb::Check(args) => check(args, &settings, context),
        Verb::Status(chain) => show(chain, &settings, context),
        Verb::Copy(args) => copy::run(args, settings, context),
        Verb::GiveUp(args) => give_up::run(args, &settings, context),
    }
}

/// An engine that can be used.
#[derive(Debug, Serialize)]
struct Checked {
    nodes: Vec<Node>,
    /// The node that was connected to.
    connected: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<Measured>,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { monitor, name, version, .. } = self;
        match (&self.unreachable, self.failure()) {
            (Some(reason), _) => write!(f, "{monitor} does not answer: {reason}"),
            (None, Some(failure)) => {
                write!(f, "{monitor} {name} {version} cannot be used: {failure}")
            }
            (None, None) => write!(f, "{monitor} {name} {version} syncs always"),
        }
    }
}

impl Document for Checked {
    const SCHEMA: &'static str = "dsc.engine.check/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nodes.iter().try_for_each(|node| writeln!(f, "{node}"))?;
        writeln!(f, "connected to {}", self.connected)?;
        let Some(Measured { sync, small, large, batches, read }) = &self.measured else {
            return Ok(());
        };
        for (what, times) in [
            ("600 bytes written and synced here", sync),
            ("600 bytes appended to the log of blocks", small),
            ("8 MiB appended to the log of blocks", large),
        ] {
            writeln!(f, "{what:40} p50 {:>8} us  p99 {:>8} us", times.p50, times.p99)?;
        }
        writeln!(f, "batches of 256 KiB appended a second     {batches:.0}")?;
        writeln!(f, "MiB of batches read a second             {read:.0}")
    }
}

/// Standard output lists the nodes; what makes the engine unusable is the failure.
fn check(args: &Check, settings: &Settings, context: &Context<'_>) -> Result<(), Failure> {
    let nodes = safety::look_well(settings);
    if let Err(failure) = safety::require_safe(&nodes) {
        // The failure is the answer; what was found is said to people beside it.
        nodes.iter().for_each(note);
        let faults = serde_json::to_value(&nodes).unwrap_or_default();
        return Err(failure.with_faults(faults));
    }
    let connected = status::connected(settings)?;
    let folder = context.config.path("general.data_dir");
    let folder = if folder.is_dir() { folder.to_owned() } else { env::temp_dir() };
    let measured = args.measure.then(|| measure::measure(settings, &folder)).transpose()?;
    context.output.document(&Checked { nodes, connected, measured })
}

/// A note of the board, as JSON if it is.
#[derive(Debug, Serialize)]
struct Shown {
    key: String,
    revision: u64,
    value: serde_json::Value,
}

/// How the engine stands.
#[derive(Debug, Serialize)]
struct Stands {
    streams: Vec<StreamStatus>,
    notes: Vec<Shown>,
}

impl Document for Stands {
    const SCHEMA: &'static str = "dsc.engine.status/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.streams.is_empty() {
            return writeln!(f, "the engine has nothing of this chain");
        }
        for StreamStatus { name, messages, bytes, last, leader, copies } in &self.streams {
            writeln!(
                f,
                "{name}: last {last}, {messages} messages, {bytes} bytes, led by {leader}"
            )?;
            for copy in copies {
                let state = match (copy.offline, copy.current) {
                    (true, _) => "offline",
                    (false, true) => "current",
                    (false, false) => "catching up",
                };
                writeln!(f, "  copy on {} {state}, {} behind", copy.node, copy.lag)?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// What people want to know of a note: whose it is, and how it stands.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |field: &str| match &self.value[field] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let url = || of("url");
        if self.key == lease::KEY {
            let end = if self.value["released"] == true { ", given back" } else { "" };
            write!(f, "metronome {} has lease {}{end}", url(), of("epoch"))
        } else if self.key.starts_with("replica.") {
            let is_empty = self.value["height"].is_null();
            let block =
                if is_empty { "no block".into() } else { format!("block {}", of("height")) };
            write!(f, "blockchain {}: {block}, position {}", url(), of("position"))
        } else {
            write!(f, "{} {}", self.key, self.value)
        }
    }
}

fn show(args: &ChainArgs, settings: &Settings, context: &Context<'_>) -> Result<(), Failure> {
    let client = Client::of_role("blockchain", &context.config)?;
    let chain = network::chain(args.genesis.as_deref(), &client).map_err(|failure| {
        if failure.exit() != Exit::Unreachable {
            return failure;
        }
        failure.with_hint("say of which chain: --genesis FILE, or --blockchain-url of a server")
    })?;
    let Status { streams, notes } = status::status(settings, &chain)?;
    let shown = notes.into_iter().map(|note| Shown {
        key: note.key,
        revision: note.revision.0,
        value: serde_json::from_slice(&note.value)
            .unwrap_or_else(|_| hex::encode(&note.value).into()),
    });
    context.output.document(&Stands { streams, notes: shown.collect() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn notes_of_the_board_are_told_in_words() {
        let text = |key: &str, value: serde_json::Value| {
            Shown { key: key.into(), revision: 1, value }.to_string()
        };
        let record = json!({ "url": "http://a:7703", "epoch": 7, "released": false });
        assert_eq!(text("metronome", record), "metronome http://a:7703 has lease 7");
        let record = json!({ "url": "http://a:7703", "epoch": 7, "released": true });
        assert_eq!(text("metronome", record), "metronome http://a:7703 has lease 7, given back");
        let note = json!({ "url": "http://b:7701", "height": null, "position": 0 });
        assert_eq!(text("replica.01", note), "blockchain http://b:7701: no block, position 0");
        assert_eq!(text("other", json!("00ff")), "other \"00ff\"");
    }
}
