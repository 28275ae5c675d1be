//! A blockchain server that lies: what it says is forged, old, out of order or of another chain.
//!
//! Some lies nobody can find out alone: that a block was taken which was not, that a transaction is
//! not there, or, together with a metronome that cheats, another chain. Whoever is told one is
//! noted as misled, and set right by hand when faults end.

use std::sync::Arc;

use dsc_lib::{
    block::{Block, Header},
    codec,
    ledger::{Snapshot, SnapshotAccount},
    role::{
        Answer, Call, Refusal,
        blockchain::{Accepted, Inclusion},
    },
    testing::{CAROL, STRANGER},
    units::{Amount, Height},
};

use super::cheat::{draft, of_other_chain, signed};
use crate::{
    event::{Asked, Caller},
    world::World,
};

/// What the server said before.
#[derive(Debug, Default)]
pub(crate) struct FalseLedger {
    old_snapshot: Option<Vec<u8>>,
}

type Lie = (&'static str, Answer);

impl World {
    /// Lies instead of answering, or does not answer; says whether it did.
    pub(crate) fn ledger_lies(&mut self, asked: &Asked) -> bool {
        if !asked.caller.is_honest() || !self.random.chance(self.plan.acts.ledger) {
            return false;
        }
        if self.random.chance(150) {
            self.counts.add("ledger: withheld answer");
            return true;
        }
        let Some((act, answer)) = self.ledger_lie(asked) else { return false };
        self.counts.add(act);
        self.reply(asked, &Ok(answer));
        true
    }

    fn ledger_lie(&mut self, asked: &Asked) -> Option<Lie> {
        match &asked.call {
            Call::Snapshot => self.false_snapshot(asked.caller),
            Call::Blocks { from, .. } => self.false_blocks(asked.caller, *from),
            Call::SubmitBlock(bytes) => self.false_verdict(asked.caller, bytes),
            Call::ChainInfo => {
                let mut info = self.blockchain.server.as_ref()?.info().ok()?;
                let height = info.height?.0;
                info.height = Some(Height((height + 20).saturating_sub(self.random.number() % 40)));
                self.judge.misled.insert(asked.caller);
                Some(("ledger: wrong height", Answer::ChainInfo(Box::new(info))))
            }
            Call::Inclusion(sought) => {
                let found = self.blockchain.server.as_ref()?.inclusion(&sought.id).ok()?;
                Some(self.false_inclusion(asked.caller, found))
            }
            _ => None,
        }
    }

    fn false_snapshot(&mut self, caller: Caller) -> Option<Lie> {
        let bytes = self.blockchain.server.as_ref()?.snapshot().ok()?;
        let old = self.false_ledger.old_snapshot.get_or_insert_with(|| bytes.clone()).clone();
        if self.random.coin() {
            // It judges by balances of long ago what it had acknowledged before it started.
            self.judge.is_pool_misled |= caller == Caller::Pool;
            return Some(("ledger: old snapshot", Answer::Snapshot(old)));
        }
        let mut snapshot: Snapshot = codec::decode(&bytes).unwrap();
        let mut accounts = snapshot.accounts.into_vec();
        let SnapshotAccount { account, .. } = accounts.first_mut()?;
        account.balance = Amount::from_units(account.balance.units() + 1);
        snapshot.accounts = codec::List::new(accounts).unwrap();
        Some(("ledger: forged snapshot", Answer::Snapshot(codec::encode(&snapshot))))
    }

    fn false_blocks(&mut self, caller: Caller, from: Height) -> Option<Lie> {
        let ledger = self.blockchain.ledger()?;
        let mut blocks = ledger.blocks(Height(from.0.saturating_sub(3)), 1 << 20).ok()?;
        let draft = draft(ledger.state(), self.now);
        let next = draft.header.height;
        Some(match self.random.below(6) {
            0 => ("ledger: old blocks", Answer::Blocks(ledger.blocks(Height(0), 1 << 16).ok()?)),
            1 => {
                blocks.reverse();
                ("ledger: blocks out of order", Answer::Blocks(blocks))
            }
            2 => {
                let last = blocks.last_mut()?;
                let place = self.random.below(last.len());
                last[place] ^= 1;
                ("ledger: altered block", Answer::Blocks(blocks))
            }
            3 => {
                let other = of_other_chain(self.now).to_vec();
                ("ledger: block of another chain", Answer::Blocks(vec![other]))
            }
            4 => {
                let header = Header { height: from, ..draft.header };
                let forged = signed(Block { header, ..draft }, &STRANGER);
                ("ledger: block by an unknown key", Answer::Blocks(vec![forged.to_vec()]))
            }
            _ if next == from && self.random.chance(self.plan.acts.collusion) => {
                self.judge.misled.insert(caller);
                self.judge.is_pool_misled |= caller == Caller::Pool;
                let other = signed(draft, &CAROL).to_vec();
                ("ledger: another chain, with a cheat", Answer::Blocks(vec![other]))
            }
            _ => ("ledger: withheld blocks", Answer::Blocks(vec![])),
        })
    }

    fn false_verdict(&mut self, caller: Caller, bytes: &Arc<Vec<u8>>) -> Option<Lie> {
        if caller != Caller::Metronome {
            return None;
        }
        let (header, _) = codec::decode_first::<Header>(bytes).ok()?;
        let accepted = Accepted { height: header.height, hash: header.hash() };
        Some(match self.random.below(4) {
            0 if self.random.chance(self.plan.acts.collusion) => {
                self.judge.misled.insert(caller);
                ("ledger: accepted falsely", Answer::BlockAccepted(accepted))
            }
            1 => {
                let accepted = Accepted { hash: Self::nobody(), ..accepted };
                ("ledger: accepted another block", Answer::BlockAccepted(accepted))
            }
            _ => {
                let refusal = Refusal::new("wrong-height", "so says a false ledger");
                ("ledger: refused falsely", Answer::Refused(refusal))
            }
        })
    }

    fn false_inclusion(&mut self, caller: Caller, found: Option<Inclusion>) -> Lie {
        let Some(mut inclusion) = found.filter(|_| self.random.chance(800)) else {
            self.judge.misled.insert(caller);
            return ("ledger: absent falsely", Answer::Inclusion(None));
        };
        match self.random.below(4) {
            0 => inclusion.header.height = inclusion.header.height.next(),
            1 => inclusion.header = inclusion.header.sign(&STRANGER),
            2 => inclusion.transaction[40] ^= 1,
            _ => inclusion.header.transactions += 1,
        }
        ("ledger: forged inclusion", Answer::Inclusion(Some(Box::new(inclusion))))
    }
}
