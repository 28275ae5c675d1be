//! A metronome among several: the threads that keep its lease, and that share proofs.
//!
//! # Invariants
//!
//! 1. No lock of the role is held while the engine is asked.
//! 2. A metronome leads until the time of the last renewal that was acknowledged, and by itself no
//!    longer: however long an answer of the engine takes, nobody has to stop it.
//! 3. What waits to be shared is bounded: a proof for which there is no room counts here alone.
//! 4. Who is told of no blocks takes no lease. One that has it keeps it: the engine may be away for
//!    all, and who is told first when it comes back is the one to go on.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use dsc_lib::{
    cluster::{
        Board, PutError, Revision, Shelf, Unavailable,
        lease::{Applicant, Ask, Found, KEY, Lease, Record},
    },
    proof::ProofEntry,
    role::metronome::{
        Metronome,
        exchange::{Exchange, note_of, prefix_of},
    },
    units::{Height, Millis},
};

use crate::{
    clock::Time,
    crash::{self, Point},
    exit::Failure,
    http::Client,
    role::{NAP, Shared, span, spawn},
    shutdown::Shutdown,
};

/// Most proofs that wait to be shared.
const OFFERS_MAX: usize = 256;
/// How often a proof is put at most, if that is not acknowledged.
const TRIES: u32 = 3;
/// Least time between two looks at the shelf of proofs.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Most time between two looks: what was put lately may be missing in a list.
const LOOK_AGAIN: Millis = Millis(500);

/// Where proofs are given away that the other metronomes should know.
#[derive(Clone, Debug)]
pub(crate) struct Offers(SyncSender<(Height, ProofEntry)>);

impl Offers {
    /// Shares a proof, as soon as may be and if there is room.
    pub(crate) fn add(&self, height: Height, entry: ProofEntry) {
        drop(self.0.try_send((height, entry)));
    }
}

/// A metronome, and what it shares with others.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) role: Arc<Shared<Metronome>>,
    pub(crate) board: Arc<dyn Board>,
    /// The servers that it follows.
    pub(crate) blockchain: Client,
    pub(crate) time: Time,
    pub(crate) shutdown: Shutdown,
}

impl Peer {
    /// Takes part as one of several: it stands by until it has the lease.
    pub(crate) fn join(
        self,
        me: Applicant,
        lease_time: Millis,
    ) -> Result<(Offers, Vec<JoinHandle<()>>), Failure> {
        self.role.lock().stand_by();
        let (give, take) = sync_channel(OFFERS_MAX);
        let (keeper, sharer, reader) = (self.clone(), self.clone(), self);
        let threads = vec![
            spawn("lease", move || keeper.keep(Lease::new(me, lease_time)))?,
            spawn("sharer", move || sharer.share(&take))?,
            spawn("reader", move || reader.read_shared())?,
        ];
        Ok((Offers(give), threads))
    }

    /// Keeps the lease, or looks for it, until everybody was asked to end; then gives it back.
    fn keep(&self, mut lease: Lease) {
        let mut known = None;
        while !self.shutdown.is_requested() {
            let tip = self.candidacy(&lease);
            let until = self.turn(&mut lease, tip);
            tell(&lease, &mut known);
            self.shutdown.sleep(span(until.since(self.time.now())).min(NAP));
        }
        self.turn(&mut lease, None);
    }

    /// Above which epoch a lease of this metronome has to be, if it may have one.
    fn candidacy(&self, lease: &Lease) -> Option<u64> {
        if lease.term().is_none() && self.blockchain.is_stale() {
            return None;
        }
        self.role.lock().candidacy(self.time.now(), lease.time())
    }

    /// Does what the lease wants until it waits, and says until when.
    fn turn(&self, lease: &mut Lease, tip: Option<u64>) -> Millis {
        loop {
            match lease.next(self.time.now(), tip) {
                Ask::Read => {
                    let found = self.look();
                    lease.read(self.time.now(), found);
                }
                Ask::Put(record, expected) => {
                    let done = self.put(&record, expected);
                    lease.put(self.time.now(), &done);
                }
                Ask::Wait(until) => {
                    self.heed(lease);
                    return until;
                }
                _ => return self.time.now().plus(lease.time()),
            }
            self.heed(lease);
        }
    }

    /// The role leads or not, as the lease says now.
    fn heed(&self, lease: &Lease) {
        let is_news = self.role.lock().heed_lease(lease, self.time.now());
        if is_news {
            self.role.changed();
        }
    }

    fn look(&self) -> Result<Found, Unavailable> {
        let note = self.board.get(Shelf::Control, KEY);
        let note = note.inspect_err(|error| tracing::debug!(%error, "the lease cannot be read"))?;
        Ok(note.map_or((Revision::NONE, None), |note| {
            (note.revision, serde_json::from_slice(&note.value).ok())
        }))
    }

    fn put(&self, record: &Record, expected: Revision) -> Result<Revision, PutError> {
        let value = serde_json::to_vec(record).map_err(Unavailable::new)?;
        let done = self.board.put(Shelf::Control, KEY, &value, Some(expected));
        match &done {
            Ok(_) if record.beat == 0 => crash::point(Point::ClusterLeaseTaken),
            Ok(_) => crash::point(Point::ClusterLeaseRenewed),
            Err(error) => tracing::debug!(%error, "the lease was not put"),
        }
        done
    }

    /// Puts on the board what was handed in here.
    fn share(&self, offered: &Receiver<(Height, ProofEntry)>) {
        while !self.shutdown.is_requested() {
            match offered.recv_timeout(NAP) {
                Ok((height, entry)) => self.share_one(height, &entry),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn share_one(&self, height: Height, entry: &ProofEntry) {
        let Some((key, value)) = note_of(height, entry) else { return };
        for _ in 0..TRIES {
            match self.board.put(Shelf::Proofs, &key, &value, None) {
                Ok(_) => return crash::point(Point::ClusterProofShared),
                Err(error) => tracing::debug!(%error, %height, "a proof was not shared"),
            }
            if self.shutdown.sleep(NAP) {
                return;
            }
        }
    }

    /// Takes what the others put there for the round that is open here.
    fn read_shared(&self) {
        let (mut exchange, mut known, mut looked) = (Exchange::default(), Revision::NONE, None);
        while !self.shutdown.sleep(LOOK_PAUSE) {
            let revision = self.board.wait(Shelf::Proofs, known, NAP);
            let now = self.time.now();
            let Some(round) = self.role.lock().round(now) else { continue };
            let is_due = looked.is_none_or(|looked| now.since(looked) >= LOOK_AGAIN);
            if revision == known && !exchange.is_new(&round) && !is_due {
                continue;
            }
            let Ok(notes) = self.board.list(Shelf::Proofs, &prefix_of(round.height)) else {
                continue;
            };
            (known, looked) = (revision, Some(now));
            for entry in exchange.fresh(&round, notes) {
                let taken = self.role.lock().take_shared(round.height, entry);
                match taken {
                    Ok(_) => self.role.changed(),
                    Err(refusal) => tracing::debug!(%refusal, "a shared proof is no good"),
                }
            }
        }
    }
}

/// Logs that this metronome leads from now on, or no more.
fn tell(lease: &Lease, known: &mut Option<u64>) {
    let epoch = lease.term().map(|term| term.epoch);
    match epoch {
        _ if epoch == *known => return,
        Some(epoch) => tracing::info!(epoch, "leads: it makes the blocks from now on"),
        None => tracing::info!("stands by"),
    }
    *known = epoch;
}

#[cfg(test)]
mod tests;
