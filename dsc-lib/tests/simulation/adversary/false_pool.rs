//! A pool that lies: to the metronome about transactions, to wallets about what became of theirs.

use dsc_lib::{
    hash::Digest,
    mempool::Status,
    role::{
        Answer, Call, Refusal,
        pool::{NextSequence, Outcome},
    },
    transaction::{Encoded, TransactionId},
    units::{Amount, Height},
};

use crate::{event::Asked, world::World};

/// Transactions in one answer that are more than a block may have.
const OVERSIZE: usize = 40;

fn refusal() -> Refusal {
    Refusal::new("insufficient-funds", "so says a false pool")
}

/// The same transaction with a fee that its sender has not signed.
fn altered(transaction: &Encoded) -> Encoded {
    let mut altered = transaction.decode();
    altered.fee = Amount::from_units(altered.fee.units() ^ 1);
    Encoded::from(&altered)
}

impl World {
    /// Lies instead of answering, or does not answer; says whether it did.
    pub(crate) fn pool_lies(&mut self, asked: &Asked) -> bool {
        if !asked.caller.is_honest() || !self.random.chance(self.plan.acts.pool) {
            return false;
        }
        if self.random.chance(200) {
            self.counts.add("pool: withheld answer");
            return true;
        }
        let Some((act, answer)) = self.pool_lie(asked) else { return false };
        self.counts.add(act);
        self.reply(asked, &Ok(answer));
        true
    }

    fn pool_lie(&mut self, asked: &Asked) -> Option<(&'static str, Answer)> {
        match &asked.call {
            Call::Take(height) => self.false_take(*height),
            Call::SubmitTransactions(all) => {
                let chain = self.genesis.hash();
                let ids: Vec<_> = all.iter().map(|one| one.id(&chain)).collect();
                Some(self.false_outcomes(asked, &ids))
            }
            Call::PoolStatus(_) => Some(self.false_status(asked)),
            Call::NextSequence(address) => {
                let next = self.pool.role.as_ref()?.next_sequence(address);
                let sequence = (next.sequence + self.random.number() % 4).saturating_sub(2);
                let height = Height((next.height.0 + self.random.number() % 10).saturating_sub(5));
                let next = NextSequence { sequence, height };
                Some(("pool: wrong sequence", Answer::NextSequence(next)))
            }
            _ => None,
        }
    }

    fn false_take(&mut self, height: Height) -> Option<(&'static str, Answer)> {
        let act = self.random.below(4);
        let mut taken: Vec<Encoded> = if act == 0 {
            vec![]
        } else {
            let taken = self.pool.role.as_mut()?.take(height);
            taken.iter().map(|one| one.encoded().clone()).collect()
        };
        let name = match act {
            0 => "pool: withheld transactions",
            1 => {
                taken = taken.iter().map(altered).collect();
                "pool: forged transactions"
            }
            2 => {
                // In the wrong order, twice, and among them some that were confirmed long ago.
                taken.reverse();
                taken.extend(self.old_transaction());
                taken.extend(taken.clone());
                "pool: stale and doubled transactions"
            }
            _ => {
                let one = taken.first().cloned().or_else(|| self.old_transaction())?;
                taken.extend(vec![one; OVERSIZE]);
                "pool: too many transactions"
            }
        };
        Some((name, Answer::Transactions(taken)))
    }

    fn false_outcomes(&mut self, asked: &Asked, ids: &[TransactionId]) -> (&'static str, Answer) {
        let act = self.random.below(3);
        let outcome = |id: &TransactionId| match act {
            0 => Outcome::Added { id: *id },
            1 => Outcome::Known { id: *id, status: Status::Confirmed { height: Height(0) } },
            _ => Outcome::Rejected { id: *id, refusal: refusal(), retry: false },
        };
        let answer = Answer::TransactionsSubmitted(ids.iter().map(outcome).collect());
        let name = match act {
            0 => "pool: added falsely",
            1 => "pool: confirmed falsely",
            _ => {
                self.judge.misled.insert(asked.caller);
                "pool: rejected falsely"
            }
        };
        (name, answer)
    }

    fn false_status(&mut self, asked: &Asked) -> (&'static str, Answer) {
        let (name, status) = match self.random.below(4) {
            0 => ("pool: forgotten falsely", None),
            1 => ("pool: confirmed falsely", Some(Status::Confirmed { height: Height(1) })),
            2 => ("pool: expired falsely", Some(Status::Expired { height: Height(1) })),
            _ => {
                self.judge.misled.insert(asked.caller);
                let Refusal { code, reason } = refusal();
                ("pool: rejected falsely", Some(Status::Rejected { code, reason }))
            }
        };
        (name, Answer::PoolStatus(status))
    }

    /// What no role may take for the id of anything.
    pub(crate) const fn nobody() -> Digest {
        Digest([0xee; 32])
    }
}
