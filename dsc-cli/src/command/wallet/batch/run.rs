//! One run of `send-many`: what is on the ledger, what is under way, what is still to be signed.

use std::collections::BTreeSet;

use dsc_lib::{
    address::Address,
    keys::SecretKey,
    mempool::Status,
    role::pool::NextSequence,
    transaction::{Draft, Transaction},
    units::{Amount, Height},
};
use rayon::prelude::*;

use super::{
    super::{
        delivery::{Delivery, is_ended},
        journal::{Journal, Kept, damaged},
        payments,
        send::Terms,
    },
    Part,
    report::Sent,
};
use crate::{
    command::{
        prepared::Prepared,
        remote::{Remote, Wait, located},
    },
    exit::Failure,
    output::note,
    role::blockchain::AccountView,
};

/// Transactions in one request.
const BATCH: usize = 1000;

/// How a part stood when the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing that was signed for it can get on the ledger.
    Unsigned,
    /// What was signed for it is not on the ledger, and may still get there.
    Open,
    /// It is on the ledger.
    Paid(Height),
}

/// Tells the fate of what was signed. The account has to be looked at before the ledger is asked
/// for the transaction: what takes its place afterwards is found there, or on the next run.
fn fate(sequence: u64, expires: Height, account: &AccountView, found: Option<Height>) -> Fate {
    match found {
        Some(height) => Fate::Paid(height),
        None if account.sequence > sequence || account.height >= Some(expires) => Fate::Unsigned,
        None => Fate::Open,
    }
}

/// A part of the payments on its way.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    pub(super) part: &'a Part,
    fate: Fate,
    kept: Option<Kept>,
    /// How it stands now, once that is known.
    pub(super) status: Option<Status>,
}

impl Progress<'_> {
    /// Payments and fee.
    fn cost(&self, fee: Amount) -> Result<Amount, Failure> {
        let fee = self.kept.as_ref().filter(|_| self.fate == Fate::Open).map_or(fee, fee_of);
        payments::total([payments::sum(&self.part.payments)?, fee])
    }

    /// The transaction that pays it, once there is one.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }
}

fn fee_of(kept: &Kept) -> Amount {
    kept.transaction.fee
}

/// A run.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) remote: &'a Remote<'a>,
    pub(super) terms: &'a Terms,
    pub(super) account: AccountView,
    pub(super) parts: Vec<Progress<'a>>,
}

impl<'a> Run<'a> {
    /// Looks how everything stands.
    pub(super) fn begin(
        remote: &'a Remote<'a>,
        terms: &'a Terms,
        parts: &'a [Part],
        payer: Address,
        journal: Option<&Journal>,
    ) -> Result<Self, Failure> {
        let blockchain = &remote.transport.blockchain;
        let account: AccountView = blockchain.get_json(&format!("/v1/accounts/{payer}"))?;
        let look = |(index, part): (usize, &'a Part)| {
            let Some((journal, kept)) = journal.and_then(|journal| journal.of(index)) else {
                return Ok(Progress { part, fate: Fate::Unsigned, kept: None, status: None });
            };
            let Transaction { sender, sequence, expires, payments, .. } = &kept.transaction;
            if sender.address() != payer || *payments != part.payments {
                let what = "it holds a transaction of another payment";
                return Err(damaged(journal.path(), what));
            }
            remote.check("looking at what was sent before")?;
            let found = located(blockchain, &kept.id)?.map(|found| found.height);
            let fate = fate(*sequence, *expires, &account, found);
            let status = found.map(|height| Status::Confirmed { height });
            Ok(Progress { part, fate, kept: Some(kept.clone()), status })
        };
        let parts = parts.iter().enumerate().map(look).collect::<Result<_, _>>()?;
        Ok(Self { remote, terms, account, parts })
    }

    pub(super) fn has_unsigned(&self) -> bool {
        self.parts.iter().any(|progress| progress.fate == Fate::Unsigned)
    }

    pub(super) fn is_all_paid(&self) -> bool {
        self.parts.iter().all(|progress| matches!(progress.fate, Fate::Paid(_)))
    }

    /// What is still to be paid, fees included.
    pub(super) fn needed(&self) -> Result<Amount, Failure> {
        let unpaid = self.parts.iter().filter(|part| !matches!(part.fate, Fate::Paid(_)));
        let costs: Vec<_> =
            unpaid.map(|part| part.cost(self.terms.fee)).collect::<Result<_, _>>()?;
        payments::total(costs)
    }

    /// Finds out before the first transaction that the coins do not suffice for the last.
    pub(super) fn check_funds(&self) -> Result<(), Failure> {
        let (needed, balance) = (self.needed()?, self.account.balance);
        if needed <= balance {
            return Ok(());
        }
        let message = format!("needs {needed} coins with fees, the sender has {balance}");
        Err(Failure::rejected("insufficient-funds", message).with_hint(
            "nothing was sent now; give the sender coins and run the same command again",
        ))
    }

    /// Signs what has to be, into the journal; returns how many transactions that are.
    pub(super) fn sign(
        &mut self,
        key: &SecretKey,
        journal: &mut Journal,
    ) -> Result<usize, Failure> {
        let path = format!("/v1/accounts/{}", key.public().address());
        let next: NextSequence = self.remote.transport.pool.get_json(&path)?;
        let expires = Height(next.height.0.saturating_add(self.terms.lifetime));
        let unsigned = self.parts.iter().enumerate();
        let unsigned = unsigned.filter(|(_, progress)| progress.fate == Fate::Unsigned);
        let places: Vec<_> = unsigned.zip(self.free_sequences(next.sequence)).collect();
        let (remote, fee, chain) = (self.remote, self.terms.fee, self.remote.chain.hash());
        let sender = key.public().address();
        let signed = places.into_par_iter().map(|((index, progress), sequence)| {
            remote.check("signing")?;
            let memo = progress.part.memo.memo(&chain, &sender)?;
            let payments = progress.part.payments.clone();
            let draft = Draft { sequence, expires, fee, payments, memo };
            Ok((index, draft.sign(&chain, key)))
        });
        let signed: Vec<_> = signed.collect::<Result<_, Failure>>()?;
        let count = signed.len();
        journal.add(&chain, signed)?;
        for (index, progress) in self.parts.iter_mut().enumerate() {
            if progress.fate == Fate::Unsigned {
                progress.kept = journal.kept.get(&index).cloned();
            }
        }
        Ok(count)
    }

    /// Sequences from `next` on that nothing under way has.
    fn free_sequences(&self, next: u64) -> impl Iterator<Item = u64> + use<> {
        let open = self.parts.iter().filter(|progress| progress.fate == Fate::Open);
        let taken: BTreeSet<u64> = open
            .filter_map(|progress| progress.kept.as_ref())
            .map(|kept| kept.transaction.sequence)
            .collect();
        (next..).filter(move |sequence| !taken.contains(sequence))
    }

    /// Sends what is not on the ledger, and waits for it.
    pub(super) fn deliver(&mut self, wait: &Wait) -> Result<(), Failure> {
        self.parts.sort_by_key(|progress| progress.kept().map(|kept| kept.transaction.sequence));
        let (remote, watched) = (self.remote, self.remote.watched());
        let delivery = |prepared| Delivery { remote, prepared, watched: &watched };
        let open = self.parts.iter().filter(|progress| progress.status.is_none());
        let open: Vec<_> = open.filter_map(prepared).collect();
        let sent = delivery(&open).send(BATCH)?;
        if !wait.is_async && (!open.is_empty() || wait.confirmations > 1) {
            note(format_args!("submitted {} transactions, waiting for blocks", open.len()));
        }
        let (all, mut sent): (Vec<_>, _) =
            (self.parts.iter().filter_map(prepared).collect(), sent.into_iter());
        let statuses = self.parts.iter().map(|progress| progress.status.clone());
        let mut statuses: Vec<_> =
            statuses.filter_map(|status| status.or_else(|| sent.next())).collect();
        if !wait.is_async {
            // What has got on the ledger since the run began is told as well.
            let next = self.account.height.map_or(0, |height| height.0.saturating_add(1));
            delivery(&all).wait(Height(next), &mut statuses, wait)?;
        }
        for (progress, status) in self.parts.iter_mut().zip(statuses) {
            progress.status = Some(status);
        }
        self.parts.sort_by_key(|progress| progress.part.lines.first().copied());
        Ok(())
    }

    /// What became of every line; a failure if some were refused.
    pub(super) fn report(&self, state: &std::path::Path) -> Result<Sent, Failure> {
        let sent = Sent::new(self, state)?;
        let count = |is: fn(&Status) -> bool| {
            self.parts.iter().filter(|part| part.status.as_ref().is_some_and(is)).count()
        };
        match count(is_ended) {
            0 => Ok(sent),
            refused => Err(sent.refused(refused, self.parts.len())?),
        }
    }
}

fn prepared(progress: &Progress<'_>) -> Option<Prepared> {
    let Kept { id, encoded, .. } = progress.kept.as_ref()?;
    let line = progress.part.lines.first().copied().unwrap_or_default();
    Some(Prepared { line, id: *id, encoded: encoded.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(sequence: u64, height: Option<u64>) -> AccountView {
        let (address, balance) = (Address([7; 32]), Amount::ZERO);
        AccountView { address, balance, sequence, height: height.map(Height) }
    }

    #[test]
    fn only_what_can_never_get_on_the_ledger_is_signed_anew() {
        let fate = |sequence, height, found: Option<u64>| {
            fate(5, Height(100), &account(sequence, height), found.map(Height))
        };
        assert_eq!(fate(5, Some(99), None), Fate::Open);
        assert_eq!(fate(0, None, None), Fate::Open);
        assert_eq!(fate(6, Some(99), None), Fate::Unsigned, "another took its place");
        assert_eq!(fate(5, Some(100), None), Fate::Unsigned, "its last height has passed");
        assert_eq!(fate(6, Some(200), Some(42)), Fate::Paid(Height(42)));
    }
}
