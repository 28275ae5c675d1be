//! Which of several metronomes makes blocks, and what the others do meanwhile.
//!
//! One that stands by follows the ledger and keeps its next round open for proofs, so that
//! validators may ask any, and so that it can go on with them when it leads.

use super::{Height, Metronome, Millis, Phase, ProofEntry, Receipt, Refusal};
use crate::{block::Header, cluster::lease::Lease, codec};

/// How long one that stands by waits for the next block, before it looks whether it leads now.
const WATCH_WAIT: Millis = Millis(500);
/// What a blockchain server answers to a block of one that does not lead.
const NOT_LEADER: &str = "not-leader";

/// Whether blocks are made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Always: there is no other metronome.
    Alone,
    /// Until this time, unless the lease is renewed.
    Leading(Millis),
    /// Another one makes them, or nobody.
    Waiting,
}

impl Metronome {
    /// Makes blocks under the lease `epoch` until the time `until`: with the round that is open and
    /// its proofs, as soon as it has caught up with the ledger. Said again, it goes on for longer.
    pub fn lead(&mut self, epoch: u64, until: Millis) {
        self.epoch = epoch;
        self.standing = Standing::Leading(until);
    }

    /// Makes no block until it is to lead. One that was signed is handed in until the ledger has
    /// taken or refused it.
    pub fn stand_by(&mut self) {
        self.standing = Standing::Waiting;
    }

    /// Whether it makes blocks at time `now`, if it runs.
    pub fn leads(&self, now: Millis) -> bool {
        match self.standing {
            Standing::Alone => true,
            Standing::Leading(until) => now < until,
            Standing::Waiting => false,
        }
    }

    /// The number of the lease that it held last.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The epoch above which its lease has to be, if this metronome could make the next block: it
    /// runs, has followed the ledger, has signed nothing that the ledger misses, and is in no
    /// trouble that has kept it from its work for `patience` longer than a block takes.
    ///
    /// That is the epoch of the ledger's tip, or of the next block if that is signed here already:
    /// no other one may be signed, and it is good only under a lease that is not below it.
    pub fn candidacy(&self, now: Millis, patience: Millis) -> Option<u64> {
        let is_late = now.since(self.well_at) > self.interval.plus(patience);
        let is_well = self.fault.is_none() || !is_late;
        let is_fit = self.running && !self.replica.is_fresh() && self.strayed().is_none();
        let tip = self.replica.state().tip().epoch;
        (is_fit && is_well).then(|| tip.max(self.pending().unwrap_or_default()))
    }

    /// The epoch of a block that was signed here and is not on the ledger yet.
    fn pending(&self) -> Option<u64> {
        let next = self.replica.next_height();
        let kept = self.signed.last().filter(|kept| kept.height >= next)?;
        codec::decode_first::<Header>(&kept.bytes).ok().map(|(header, _)| header.epoch)
    }

    /// Leads or stands by as the lease says at time `now`; returns whether that is news.
    pub fn heed_lease(&mut self, lease: &Lease, now: Millis) -> bool {
        let before = (self.leads(now), self.epoch, self.leader.take());
        match lease.term().filter(|term| now < term.until) {
            Some(term) => {
                if self.is_standing_by() {
                    self.well_at = now;
                }
                self.lead(term.epoch, term.until);
            }
            None => self.stand_by(),
        }
        self.leader = lease.leader(now).map(|record| record.url.clone());
        (self.leads(now), self.epoch) != (before.0, before.1) || self.leader != before.2
    }

    /// Takes a proof that was handed in to another metronome, as if it were handed in here.
    ///
    /// # Errors
    ///
    /// As [`Metronome::hand_in`].
    pub fn take_shared(&mut self, height: Height, entry: ProofEntry) -> Result<Receipt, Refusal> {
        self.take_proof(height, entry.proof.kind, entry)
    }

    pub(super) fn is_standing_by(&self) -> bool {
        self.standing == Standing::Waiting
    }

    /// The height of a block that was signed here and does not follow the ledger, if there is one.
    pub(super) fn strayed(&self) -> Option<Height> {
        let (next, tip) = (self.replica.next_height(), self.replica.state().tip().hash);
        let kept = self.signed.last().filter(|kept| kept.height >= next)?;
        let follows = kept.height == next && kept.parent == tip;
        (!follows).then_some(kept.height)
    }

    /// Who is told that another one leads had not heard of it yet, and waits until it is to lead.
    pub(super) fn heed_refusal(&mut self, refusal: &Refusal) {
        if refusal.code == NOT_LEADER && self.standing != Standing::Alone {
            self.stand_by();
        }
    }

    /// How long the question for the next block may stay open.
    pub(super) fn patience(&self, now: Millis) -> Millis {
        if self.leads(now) || !self.is_watching() { Millis(0) } else { WATCH_WAIT }
    }

    fn is_watching(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.round == *self.replica.state().round())
    }

    /// Keeps the ledger's next round open for whoever leads.
    pub(super) fn watch(&mut self, now: Millis) {
        if !self.is_watching() {
            // Whoever leads closed the round before, and made its block, ere it was seen here.
            self.last_tick = now.since(Millis(self.interval.0 >> 3));
            self.open(now);
        }
        self.phase = Phase::Following;
        self.well_at = now;
        self.fault = self.strayed().map(|signed| self.behind(signed));
    }
}
