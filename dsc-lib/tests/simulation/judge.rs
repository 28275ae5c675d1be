//! What must hold, whatever goes wrong.
//!
//! While a run goes on:
//!
//! 1. A block that the ledger acknowledged is there after every crash, and at its height no other.
//! 2. Pool and metronome are, at the height they have come to, in the state the ledger was in.
//! 3. An honest metronome shows one block of a height, and no other.
//!
//! At its end, when faults have been over for a while:
//!
//! 4. Every payment has ended, and as the ledger has it.
//! 5. Pool and metronome are where the ledger is, and the monitor finds nobody missing.
//! 6. A replay of the whole chain finds nothing wrong; no coin was made or lost; no transaction is
//!    there twice; nobody but the honest miners won, and nobody but the owner of a key paid.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dsc_lib::{
    block::Header,
    codec,
    hash::Digest,
    ledger::{Ledger, State},
    mempool::Status,
    proof::ProofKind,
    role::{
        blockchain::{Accepted, Blockchain},
        pool::Pool,
        wallet::End,
    },
    testing::{CAROL, MINER, address},
    transaction::{CheckedTransaction, TransactionId},
    units::Height,
};

use crate::{counts::Counts, event::Caller, world::World};

/// A block of the ledger and the state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    block: Digest,
    state: Digest,
}

/// What is known of a run so far.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// The ledger's blocks by height.
    marks: Vec<Mark>,
    /// How many of them were acknowledged.
    acknowledged: usize,
    /// What the honest metronome has handed in.
    made: BTreeMap<Height, Digest>,
    /// What the pool has acknowledged: all of it, and what has not ended.
    acknowledged_once: BTreeMap<TransactionId, Arc<CheckedTransaction>>,
    held: BTreeSet<TransactionId>,
    /// What owners of keys have signed.
    signed: BTreeSet<TransactionId>,
    /// Payments that have ended, and those that the pool took all the same: a message that was late
    /// can arrive after its sender has been told that the transaction is rejected.
    ended: BTreeSet<TransactionId>,
    revived: BTreeSet<TransactionId>,
    /// Who was told a lie that nobody could have found out.
    pub(crate) misled: BTreeSet<Caller>,
    /// Whether the record of what the honest metronome signed was taken away.
    has_forgotten: bool,
    /// Whether the pool was: then it may have taken for confirmed what is not.
    pub(crate) is_pool_misled: bool,
}

/// Whether the ledger says that a transaction cannot be confirmed any more.
fn has_passed(transaction: &CheckedTransaction, state: &State) -> bool {
    let used = state.account(&transaction.sender()).sequence > transaction.sequence();
    used || transaction.expires() < state.round().height
}

fn mark_of(ledger: &Ledger, height: usize) -> Mark {
    let header = ledger.header(Height(height as u64)).unwrap().expect("the ledger has the block");
    Mark { block: header.hash(), state: header.state }
}

fn header_of(block: &[u8]) -> (Header, Digest) {
    let (header, _) = codec::decode_first::<Header>(block).expect("a block has a header");
    let hash = header.hash();
    (header, hash)
}

fn count_of(state: &State) -> usize {
    usize::try_from(state.round().height.0).unwrap()
}

impl Judge {
    /// Blocks on the ledger.
    pub(crate) fn blocks(&self) -> u64 {
        self.marks.len() as u64
    }

    /// A block is on the ledger, and will be acknowledged.
    pub(crate) fn accepted(&mut self, ledger: &Ledger, accepted: Accepted) {
        let count = count_of(ledger.state());
        (self.marks.len()..count).for_each(|height| self.marks.push(mark_of(ledger, height)));
        let height = usize::try_from(accepted.height.0).unwrap();
        assert_eq!(self.marks[height].block, accepted.hash, "another block at {height}");
        self.acknowledged = self.acknowledged.max(height + 1);
    }

    /// The ledger was opened again.
    pub(crate) fn reopened(&mut self, ledger: &Ledger, counts: &mut Counts) {
        let count = count_of(ledger.state());
        let lost = self.acknowledged.saturating_sub(count);
        assert_eq!(lost, 0, "the ledger lost {lost} acknowledged blocks: it has {count}");
        if count > self.marks.len() {
            counts.add("stored, not acknowledged, kept");
        }
        self.marks.truncate(count);
        for height in 0..count {
            let found = mark_of(ledger, height);
            match self.marks.get(height) {
                Some(mark) => assert_eq!(*mark, found, "another block at {height}"),
                None => self.marks.push(found),
            }
        }
    }

    /// A role follows the ledger, and has come to this state.
    pub(crate) fn follows(&self, caller: Caller, state: &State) {
        let Some(height) = state.height() else { return };
        if self.misled.contains(&caller) {
            return;
        }
        let mark = self.marks.get(usize::try_from(height.0).unwrap());
        let found = Mark { block: state.tip().hash, state: state.commitment() };
        assert_eq!(mark, Some(&found), "{caller:?} has another block {height} than the ledger");
    }

    /// The honest metronome hands a block in.
    pub(crate) fn made(&mut self, bytes: &[u8]) {
        let (Header { height, .. }, block) = header_of(bytes);
        let made = *self.made.entry(height).or_insert(block);
        assert_eq!(made, block, "the metronome made two blocks of height {height}");
    }

    /// The pool says that it holds this.
    pub(crate) fn pool_acknowledged(&mut self, transaction: &Arc<CheckedTransaction>) {
        self.acknowledged_once.insert(transaction.id(), transaction.clone());
        self.held.insert(transaction.id());
        if self.ended.contains(&transaction.id()) {
            self.revived.insert(transaction.id());
        }
    }

    /// A payment has ended, as its wallet sees it.
    pub(crate) fn ended(&mut self, id: TransactionId) {
        self.ended.insert(id);
    }

    /// The pool goes down: what it does not hold by now has ended.
    pub(crate) fn pool_stopped(&mut self, pool: &Pool) {
        self.held.retain(|id| pool.find(id).is_some());
    }

    /// The pool has taken in what it had on disk.
    ///
    /// A pool that is full may find no room for some of it: the journal does not say what had been
    /// evicted, and that comes back as well.
    pub(crate) fn pool_restored(&self, pool: &mut Pool, max: usize, counts: &mut Counts) {
        let is_full = pool.counts().submitted + pool.counts().unconfirmed >= max as u64;
        for id in self.held.iter().filter(|_| !self.is_pool_misled) {
            let held = &self.acknowledged_once[id];
            let is_there = pool.status(id).is_some();
            if is_there || has_passed(held, pool.replica().state()) {
                continue;
            }
            if is_full {
                counts.add("crowded out at a start");
            } else {
                let why = pool.submit(held.clone());
                panic!("the pool lost {id}, which it had acknowledged; now it says {why:?}");
            }
        }
    }

    /// What the honest metronome signed for a chain that there is not is taken away.
    pub(crate) fn forget_made(&mut self) {
        self.has_forgotten = true;
        let next = Height(self.blocks());
        self.made.retain(|height, _| *height < next);
    }

    /// The owner of a key has signed this.
    pub(crate) fn signed(&mut self, id: TransactionId) {
        self.signed.insert(id);
    }
}

impl World {
    /// Whether all has come to rest: then a run may end.
    pub(crate) fn is_settled(&self) -> bool {
        let Some(ledger) = self.blockchain.ledger() else { return false };
        let (pool, metronome) = (&self.pool.role, &self.metronome.role);
        let follow = [
            pool.as_ref().map(|pool| pool.replica().next_height()),
            metronome.as_ref().map(|metronome| metronome.replica().next_height()),
        ];
        let next = ledger.state().round().height;
        let reported = self.clients.monitor.report().is_some_and(|report| report.faults.is_empty());
        self.clients.ends().all(|end| end.is_some())
            && follow.iter().all(|height| *height == Some(next))
            && reported
            && next.0 >= self.quiet_height + 4
    }

    /// Everything that is not as it should be by now.
    pub(crate) fn unsettled(&self) -> String {
        let open = self.clients.payers.iter().enumerate();
        let open = open.filter(|(_, payer)| payer.payment.end().is_none());
        let open: Vec<_> =
            open.map(|(index, payer)| format!("{index}: {:?}", payer.payment)).collect();
        let ledger = self.blockchain.ledger().map(|ledger| ledger.state().round().height);
        let pool = self.pool.role.as_ref().map(|p| (p.replica().next_height(), p.fault()));
        let role = self.metronome.role.as_ref();
        let metronome = role.map(|m| (m.replica().next_height(), m.fault()));
        format!(
            "ledger at {ledger:?} (faults ended at {}), pool {pool:?}, metronome {metronome:?}, \
             monitor {:?}, payments {open:#?}",
            self.quiet_height,
            self.clients.monitor.report()
        )
    }

    /// Looks at all there is when a run has ended; returns the last state.
    pub(crate) fn judge(&mut self) -> Digest {
        let server = self.blockchain.server.take().expect("the ledger is open");
        let ledger = server.ledger();
        assert!(ledger.state().supply_holds(), "coins were made or lost");
        ledger.verify(|_, _| {}).expect("a replay finds nothing wrong");
        self.judge_blocks(ledger);
        for index in 0..self.clients.payers.len() {
            self.judge_payment(index, ledger);
        }
        self.judge_pool(ledger);
        self.judge_evidence(&server);
        let wins = ledger.wins();
        for (kind, count) in ProofKind::all().zip(wins.by_engine()) {
            self.counts.add_many(&format!("block won by {}", kind.name()), count);
        }
        self.counts.add_many("block without winner", wins.none());
        let failures = self.machines.values().filter_map(|machine| machine.disk.as_ref());
        let failures = failures.map(crate::disk::SickDisk::failures).sum();
        self.counts.add_many("disk operation failed", failures);
        ledger.state().commitment()
    }

    /// What the pool says of everything that it ever acknowledged is so. What it does not remember has
    /// ended: it was there after the last start.
    fn judge_pool(&self, ledger: &Ledger) {
        let pool = self.pool.role.as_ref().expect("the pool is up");
        for id in self.judge.acknowledged_once.keys() {
            let there = ledger.transaction(id).unwrap().map(|located| located.place.height);
            match (pool.status(id), there) {
                (Some(Status::Confirmed { height }), _) => assert_eq!(there, Some(height), "{id}"),
                (Some(status), Some(height)) => panic!("{id} is in block {height}, not {status:?}"),
                _ => {}
            }
        }
    }

    /// Nobody is accused but the cheat, or a metronome whose record was taken away.
    fn judge_evidence(&mut self, server: &Blockchain) {
        for found in server.evidence().all() {
            let is_guilty = found.second.metronome == address(&CAROL);
            assert!(is_guilty || self.judge.has_forgotten, "falsely accused: {found:?}");
            found.verify(&self.genesis).expect("evidence proves itself");
            self.counts.add("equivocation found");
        }
    }

    fn judge_blocks(&mut self, ledger: &Ledger) {
        let mut seen = BTreeSet::new();
        for height in 0..ledger.state().round().height.0 {
            let block = ledger.block(Height(height)).unwrap().unwrap();
            let owners = block.proofs.iter().map(|entry| entry.miner.address);
            assert!(owners.into_iter().all(|owner| owner == address(&MINER)), "a forger won");
            for transaction in &block.transactions {
                let id = transaction.id(&self.genesis.hash());
                assert!(self.judge.signed.contains(&id), "nobody signed {id}, at {height}");
                assert!(seen.insert(id), "{id} is on the ledger twice, at {height}");
            }
            self.counts.add("block");
        }
    }

    /// Holds the end of a payment against the ledger.
    fn judge_payment(&mut self, index: usize, ledger: &Ledger) {
        let payment = &self.clients.payers[index].payment;
        let id = payment.id().expect("an ended payment was signed");
        let is_misled = self.judge.misled.contains(&Caller::Payment(index));
        let is_revived = self.judge.revived.contains(&id);
        let there = ledger.transaction(&id).unwrap();
        if is_revived && there.is_some() {
            self.counts.add("rejected, then confirmed");
        }
        let name = match payment.end().expect("settled") {
            End::Confirmed { height } => {
                let place = there.map(|located| located.place.height);
                assert_eq!(place, Some(*height), "payment {index} is said to be confirmed");
                "payment confirmed"
            }
            End::Rejected(refusal) => {
                assert!(
                    there.is_none() || is_misled || is_revived,
                    "payment {index} rejected ({refusal}), yet on the ledger"
                );
                "payment rejected"
            }
            End::Expired { .. } => {
                assert!(there.is_none() || is_misled, "payment {index} expired, yet on the ledger");
                "payment expired"
            }
            other => panic!("unknown end {other:?}"),
        };
        self.counts.add(name);
    }
}
