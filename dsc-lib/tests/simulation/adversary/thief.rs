//! A wallet that spends what it has twice and what it has not at all.

use std::sync::Arc;

use dsc_lib::{
    hash::Digest,
    keys::SecretKey,
    role::{Answer, Call, Lost, pool::Outcome},
    testing::{ALICE, STRANGER, address, coins},
    transaction::{Draft, Encoded, Memo, Payment, Payments},
    units::{Amount, Height, Millis},
};

use crate::{event::Caller, world::World};

const PAUSE: Millis = Millis(900);
/// Transactions sent at once.
const FLOOD: u64 = 6;
/// Heights that its transactions are good for.
const LIFETIME: u64 = 12;

/// What it sent last, and what it has seen of others.
#[derive(Debug, Default)]
pub(crate) struct Thief {
    /// What an honest wallet submitted last.
    pub(crate) overheard: Option<Encoded>,
    act: &'static str,
    /// Whether what it sent must not be held.
    is_forged: bool,
}

/// A payment of an amount, by whoever signs.
fn draft(sequence: u64, expires: u64, amount: Amount, fee: u64) -> Draft {
    let payment = Payment { to: address(&STRANGER), amount };
    Draft {
        sequence,
        expires: Height(expires),
        fee: Amount::from_units(fee),
        payments: Payments::new(vec![payment]).unwrap(),
        memo: Memo::default(),
    }
}

impl World {
    pub(crate) fn wake_thief(&mut self) {
        let is_on = self.random.chance(self.plan.acts.thief);
        let stolen = if is_on { self.steal() } else { None };
        let Some((act, is_forged, transactions)) = stolen else {
            let until = self.now.plus(PAUSE);
            return self.wake_at(Caller::Thief, until);
        };
        (self.thief.act, self.thief.is_forged) = (act, is_forged);
        self.counts.add(act);
        self.call(Caller::Thief, &Call::SubmitTransactions(Arc::new(transactions)));
    }

    /// Signs as itself; what it signs may get onto the ledger.
    fn sign(&mut self, draft: Draft) -> Encoded {
        let chain = self.genesis.hash();
        let signed = draft.sign(&chain, &STRANGER);
        self.judge.signed(signed.id(&chain));
        Encoded::from(&signed)
    }

    fn steal(&mut self) -> Option<(&'static str, bool, Vec<Encoded>)> {
        let next = self.pool.role.as_ref()?.next_sequence(&address(&STRANGER));
        let (sequence, height) = (next.sequence, next.height.0);
        let expires = height + LIFETIME;
        Some(match self.random.below(9) {
            0 => {
                let second = self.sign(draft(sequence, expires, coins(2), 500));
                self.shout(Caller::Thief, &Call::SubmitTransactions(Arc::new(vec![second])));
                let first = self.sign(draft(sequence, expires, coins(1), 1000));
                ("thief: double spend", false, vec![first])
            }
            1 => ("thief: replay", false, vec![self.old_transaction()?]),
            2 => {
                let ahead = sequence + 1 + self.random.number() % 8;
                let gap = self.sign(draft(ahead, expires, coins(1), 100));
                ("thief: gap", false, vec![gap])
            }
            3 => {
                let flood = sequence..sequence + FLOOD;
                let flood = flood.map(|each| self.sign(draft(each, expires, coins(1), 2000)));
                ("thief: flood", false, flood.collect())
            }
            4 => {
                let mut altered = self.thief.overheard.clone()?.decode();
                altered.fee = Amount::from_units(altered.fee.units() + 1);
                ("thief: altered payment", true, vec![Encoded::from(&altered)])
            }
            5 => {
                let other = draft(sequence, expires, coins(1), 0).sign(&Digest([9; 32]), &STRANGER);
                ("thief: payment of another chain", true, vec![Encoded::from(&other)])
            }
            6 => {
                let all = Amount::from_units(u64::MAX - 1);
                let too_much = self.sign(draft(sequence, expires, all, 1));
                ("thief: overspent", true, vec![too_much])
            }
            7 => {
                let late = self.sign(draft(sequence, height.checked_sub(1)?, coins(1), 1));
                ("thief: expired", false, vec![late])
            }
            _ => ("thief: forged sender", true, vec![self.forged_sender(&STRANGER, expires)]),
        })
    }

    /// A payment from Alice that somebody else has signed.
    fn forged_sender(&self, key: &SecretKey, expires: u64) -> Encoded {
        let pool = self.pool.role.as_ref().expect("it was asked just now");
        let sequence = pool.next_sequence(&address(&ALICE)).sequence;
        let mut forged = draft(sequence, expires, coins(5), 9).sign(&self.genesis.hash(), key);
        forged.sender = *ALICE.public();
        Encoded::from(&forged)
    }

    /// A transaction of some block.
    pub(crate) fn old_transaction(&mut self) -> Option<Encoded> {
        let next = self.blockchain.ledger()?.state().round().height.0;
        let start = self.random.number().checked_rem(next)?;
        let ledger = self.blockchain.ledger()?;
        let mut blocks = (start..next).filter_map(|height| ledger.block(Height(height)).ok()?);
        blocks.find_map(|block| block.transactions.first().cloned())
    }

    pub(crate) fn stole(&mut self, answer: &Result<Answer, Lost>) {
        let Ok(Answer::TransactionsSubmitted(outcomes)) = answer else { return };
        let Thief { act, is_forged, .. } = self.thief;
        for outcome in outcomes.iter().filter(|_| is_forged) {
            assert!(matches!(outcome, Outcome::Rejected { .. }), "{act}: {outcome:?}");
            self.counts.add("theft refused");
        }
    }
}
