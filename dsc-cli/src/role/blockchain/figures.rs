//! What a blockchain server says of itself: whether it is ready, and its metrics.

use dsc_lib::units::Millis;

use super::{super::tip_text, Member, Server};
use crate::{
    clock::SystemClock,
    http::Check,
    metrics::{self, Sort},
};

/// A ledger is ready whatever its age: it is the metronome that blocks have to come from.
pub(super) fn checks(server: &Server) -> Vec<Check> {
    let held = server.shared.lock();
    let state = held.ledger().state();
    let (height, Millis(time)) = (state.height(), state.tip().time);
    drop(held);
    let age = SystemClock::new().unix().since(Millis(time));
    let detail = tip_text(height, age);
    let mut checks = vec![
        Check { name: "ledger", ok: true, detail: "open".into() },
        Check { name: "tip", ok: true, detail },
    ];
    checks.extend(server.member.as_ref().map(|member| member.check()));
    checks
}

pub(super) fn write_figures(server: &Server, text: &mut String) {
    let held = server.shared.lock();
    let state = held.ledger().state();
    let height = state.height().map_or_else(|| "-1".into(), |height| height.to_string());
    let Millis(time) = state.tip().time;
    let wins = held.ledger().wins();
    let (by_engine, without) = (wins.by_engine(), wins.none());
    let equivocations = held.evidence().count();
    drop(held);
    metrics::gauge(text, "dsc_chain_height", "Height of the last block; -1 without one.", height);
    let about = "Time of the last block, since the Unix epoch.";
    metrics::gauge(text, "dsc_tip_timestamp_seconds", about, metrics::seconds_of(time));
    let about = "Heights at which a metronome signed two blocks.";
    metrics::gauge(text, "dsc_equivocations", about, equivocations);
    let about = "Blocks on the ledger, by the proof that won them; none without a winner.";
    metrics::family(text, "dsc_blocks_total", Sort::Counter, about);
    for (kind, count) in dsc_lib::proof::ProofKind::all().zip(by_engine) {
        metrics::sample(text, "dsc_blocks_total", &[("proof", kind.name())], count);
    }
    metrics::sample(text, "dsc_blocks_total", &[("proof", "none")], without);
    write_shared(server.member.as_deref(), text);
}

/// Figures of what is shared with other servers; alone there is nothing of it.
fn write_shared(member: Option<&Member>, text: &mut String) {
    let last = member.and_then(Member::final_height);
    let last = last.map_or_else(|| "-1".into(), |height| height.to_string());
    let about = "Height up to which two servers have every block on disk; -1 if not known.";
    metrics::gauge(text, "dsc_chain_final_height", about, last);
    let position = member.map_or(0, |member| member.position().0);
    let about = "Entries of the shared log that were read; 0 alone.";
    metrics::gauge(text, "dsc_engine_position", about, position);
    let stale = member.and_then(Member::stale_since).is_some();
    let about = "Whether the engine has been silent for longer than two seconds.";
    metrics::gauge(text, "dsc_engine_silent", about, u8::from(stale));
    let (skipped, gaps) = member.map_or((0, 0), Member::counts);
    let about = "Entries of the shared log that broke a rule and were passed over.";
    metrics::counter(text, "dsc_engine_skipped_entries_total", about, &[], skipped);
    let about = "Entries that the shared log had lost and another server had.";
    metrics::counter(text, "dsc_engine_gaps_total", about, &[], gaps);
}
