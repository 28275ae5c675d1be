//! The engine on NATS `JetStream`: streams with several copies, each synced before it is acknowledged.
//!
//! What is shared by the servers of a chain, `c` being the first 16 digits of its genesis hash:
//!
//! | Stream | Subjects | What |
//! |---|---|---|
//! | `DSC_<c>_BLOCKS` | `dsc.<c>.blocks` | the log of blocks; sequence is position |
//! | `DSC_<c>_CHUNKS` | `dsc.<c>.chunks.<hash>.<count>-<number>` | pieces of blocks too large for a message |
//! | `DSC_<c>_TRANSACTIONS` | `dsc.<c>.transactions` | batches that wait |
//! | `KV_DSC_<c>_CONTROL`, `KV_DSC_<c>_PROOFS` | `$KV.DSC_<c>_CONTROL.<key>` .. | the board |
//! | `DSC_<c>_BLOBS` | `dsc.<c>.blobs.names.<name>`, `dsc.<c>.blobs.parts.<name's hash>.<hash>.<count>-<number>` | snapshots |
//!
//! Leaders tell on `dsc.<c>.news.<which>.>` what was put there, without its content.

mod blobs;
mod blocks;
mod board;
mod connect;
mod fit;
pub(crate) mod give_up;
mod guard;
mod info;
mod kept;
pub(crate) mod measure;
mod news;
pub(crate) mod node;
mod parts;
pub(crate) mod safety;
mod session;
pub(crate) mod status;
mod stored;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod transactions;
mod turn;

use std::{sync::Arc, time::Duration};

use dsc_lib::{
    cluster::{Cluster, PROOFS_MAX},
    genesis::Chain,
};
use futures_util::StreamExt;
use serde_json::{Value, json};

use self::{
    board::{Bucket, Notes},
    connect::Link,
    guard::Guard,
    stream::{Names, Stream},
};
use super::Settings;
use crate::exit::Failure;

/// What a message may have beside a piece.
const HEADER_BYTES: usize = 4 << 10;
/// Within this time the same batch again is known to be there.
const SAME_TIME: Duration = Duration::from_secs(120);

/// Everything on an engine that belongs to one chain.
#[derive(Debug)]
struct Opened {
    blocks: Arc<Stream>,
    chunks: Arc<Stream>,
    transactions: Arc<Stream>,
    control: Arc<Stream>,
    proofs: Arc<Stream>,
    blobs: Arc<Stream>,
}

/// Connects to the engine for the servers of `chain`.
pub(super) fn open(settings: &Settings, chain: &Chain) -> Result<Cluster, Failure> {
    connect_with(settings, &Names::of(chain)).map(|(_, cluster)| cluster)
}

/// Connects to the engine for what has these names.
fn connect_with(settings: &Settings, names: &Names) -> Result<(Arc<Link>, Cluster), Failure> {
    let nodes = safety::look_well(settings);
    safety::require_safe(&nodes)?;
    attach(settings, names, Guard::new(&nodes))
}

/// Connects to nodes that were looked at.
fn attach(
    settings: &Settings,
    names: &Names,
    guard: Guard,
) -> Result<(Arc<Link>, Cluster), Failure> {
    let guard = Arc::new(guard);
    let link = Arc::new(Link::open(settings, guard.clone())?);
    require_room(&link, settings)?;
    let opened = streams(&link, names, settings)?;
    listen(&link, names, &opened)?;
    link.spawn(guard.watch(settings.clone(), link.client().clone()));
    let Opened { blocks, chunks, transactions, control, proofs, blobs } = opened;
    let bucket = |stream, name| Bucket::new(stream, &names.stream(name));
    let cluster = Cluster {
        blocks: Arc::new(blocks::Blocks::new(blocks, chunks, names, settings.chunk_bytes)),
        transactions: Arc::new(transactions::Transactions::new(transactions, names)),
        board: Arc::new(Notes {
            control: bucket(control, "CONTROL"),
            proofs: bucket(proofs, "PROOFS"),
        }),
        blobs: Arc::new(blobs::Store::new(blobs, names, settings.chunk_bytes)),
    };
    Ok((link, cluster))
}

/// Refuses pieces that no node takes.
fn require_room(link: &Link, settings: &Settings) -> Result<(), Failure> {
    let max = link.client().max_payload();
    let needed = settings.chunk_bytes.saturating_add(HEADER_BYTES);
    if needed <= max {
        return Ok(());
    }
    let got = settings.chunk_bytes;
    let message = format!("engine.chunk_bytes is {got}, the engine's nodes take {max} at once");
    let most = max.saturating_sub(HEADER_BYTES);
    Err(Failure::configuration("engine-chunk-bytes", message).with_hint(format_args!(
        "set engine.chunk_bytes to {most} or less, or max_payload of all nodes to {needed} or more"
    )))
}

fn streams(link: &Arc<Link>, names: &Names, settings: &Settings) -> Result<Opened, Failure> {
    let open = |config: Value| Stream::open(link, names, config).map(Arc::new);
    let own = |name: &str, subjects: &str, rest: &Value| {
        config(&names.stream(name), &names.subject(subjects), settings, rest)
    };
    let bucket = |name: &str, rest: &Value| {
        let full = names.stream(name);
        config(&format!("KV_{full}"), &format!("$KV.{full}.>"), settings, rest)
    };
    let news = |config: Value, which: &str| with_news(config, names, which);
    let kept = json!({ "deny_delete": true, "deny_purge": true });
    let chunks = json!({ "deny_delete": true, "deny_purge": true, "max_msgs_per_subject": 1 });
    let waiting = json!({
        "max_bytes": settings.pool_bytes_max,
        "discard": "new",
        "duplicate_window": nanos(SAME_TIME),
    });
    let notes = json!({ "max_msgs_per_subject": 1, "allow_rollup_hdrs": true });
    let mut proofs = notes.clone();
    proofs["max_msgs"] = PROOFS_MAX.into();
    Ok(Opened {
        blocks: open(news(own("BLOCKS", "blocks", &kept), "blocks"))?,
        chunks: open(own("CHUNKS", "chunks.*.*", &chunks))?,
        transactions: open(news(own("TRANSACTIONS", "transactions", &waiting), "transactions"))?,
        control: open(news(bucket("CONTROL", &notes), "control"))?,
        proofs: open(news(bucket("PROOFS", &proofs), "proofs"))?,
        blobs: open(own("BLOBS", "blobs.>", &json!({ "max_msgs_per_subject": 1 })))?,
    })
}

fn nanos(time: Duration) -> Value {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).into()
}

/// A stream in files, without limits unless `rest` says so.
fn config(name: &str, subject: &str, settings: &Settings, rest: &Value) -> Value {
    let mut config = json!({
        "name": name,
        "subjects": [subject],
        "retention": "limits",
        "storage": "file",
        "num_replicas": settings.replicas,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "discard": "old",
        "allow_direct": true,
    });
    for (key, value) in rest.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

/// Lets the leader tell everybody what was put into the stream, without its content.
fn with_news(mut config: Value, names: &Names, which: &str) -> Value {
    let dest = names.subject(&format!("news.{which}.>"));
    config["republish"] = json!({ "src": ">", "dest": dest, "headers_only": true });
    config
}

/// Hears of what is put into streams from now on.
fn listen(link: &Link, names: &Names, opened: &Opened) -> Result<(), Failure> {
    let subject = names.subject("news.>");
    let heard = link.wait_for(link.client().subscribe(subject));
    let mut heard = heard.map_err(|error| Failure::other("engine-news", error))?;
    let all = [
        ("blocks", &opened.blocks),
        ("transactions", &opened.transactions),
        ("control", &opened.control),
        ("proofs", &opened.proofs),
    ];
    let all: Vec<_> = all
        .into_iter()
        .map(|(which, stream)| (names.subject(&format!("news.{which}")), stream.news.clone()))
        .collect();
    link.spawn(async move {
        while let Some(message) = heard.next().await {
            let sequence =
                message.headers.as_ref().and_then(|headers| headers.get("Nats-Sequence"));
            let sequence = sequence.and_then(|sequence| sequence.as_str().parse().ok());
            let news =
                all.iter().find(|(subject, _)| message.subject.starts_with(subject.as_str()));
            if let (Some(sequence), Some((_, news))) = (sequence, news) {
                news.tell(sequence);
            }
        }
    });
    Ok(())
}
