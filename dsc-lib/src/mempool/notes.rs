//! Transactions that came lately, for people to look at.
//!
//! # Invariants
//!
//! 1. At most [`NOTES_MAX`] are noted, of each second the first [`NOTES_PER_SECOND`]: at any rate
//!    there is time to see what becomes of one before it is forgotten, and one that is not noted
//!    costs a comparison.
//! 2. No rule of the pool depends on a note, nor on the time that it is told.

use std::{collections::VecDeque, num::NonZeroU64};

use serde::{Deserialize, Serialize};

use crate::{
    address::Address,
    transaction::{CheckedTransaction, TransactionId},
    units::{Amount, Millis},
};

/// Most transactions noted.
pub const NOTES_MAX: usize = 128;
/// Most of one second.
pub const NOTES_PER_SECOND: u32 = 8;

/// A transaction that came lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its id.
    pub id: TransactionId,
    /// Who pays.
    pub sender: Address,
    /// Who is paid; nothing if there are several.
    pub to: Option<Address>,
    /// How many payments it has.
    pub payments: u64,
    /// What they are together.
    pub amount: Amount,
    /// What the winner of its block is paid.
    pub fee: Amount,
    /// When it came.
    pub submitted: Millis,
    /// When it was handed out for a block last.
    pub unconfirmed: Option<Millis>,
    /// When the pool saw it on the ledger.
    pub confirmed: Option<Millis>,
}

impl Note {
    fn new(transaction: &CheckedTransaction, submitted: Millis) -> Self {
        let mut payments = transaction.payments();
        let count = payments.len() as u64;
        let first = payments.next().map(|payment| payment.to);
        let fee = transaction.fee();
        Self {
            id: transaction.id(),
            sender: transaction.sender(),
            to: first.filter(|first| payments.all(|payment| payment.to == *first)),
            payments: count,
            amount: transaction.spent().checked_sub(fee).unwrap_or_default(),
            fee,
            submitted,
            unconfirmed: None,
            confirmed: None,
        }
    }
}

/// The number of a note.
pub(super) type Number = NonZeroU64;

#[derive(Debug)]
pub(super) struct Notes {
    kept: VecDeque<Note>,
    /// The number of the note after the last.
    next: Number,
    second: u64,
    /// Notes made in that second.
    count: u32,
}

impl Default for Notes {
    fn default() -> Self {
        Self { kept: VecDeque::new(), next: Number::MIN, second: 0, count: 0 }
    }
}

impl Notes {
    /// Notes a transaction, unless there are enough of this second.
    pub(super) fn make(&mut self, transaction: &CheckedTransaction, now: Millis) -> Option<Number> {
        let second = now.0 / 1000;
        if second != self.second {
            (self.second, self.count) = (second, 0);
        }
        if self.count >= NOTES_PER_SECOND {
            return None;
        }
        self.count = self.count.saturating_add(1);
        self.kept.push_back(Note::new(transaction, now));
        if self.kept.len() > NOTES_MAX {
            self.kept.pop_front();
        }
        let number = self.next;
        self.next = number.saturating_add(1);
        Some(number)
    }

    /// Takes back the note made last: the pool does not hold the transaction after all.
    pub(super) fn withdraw(&mut self, number: Option<Number>) {
        if let Some(number) = number.filter(|number| number.saturating_add(1) == self.next) {
            self.next = number;
            self.kept.pop_back();
            self.count = self.count.saturating_sub(1);
        }
    }

    /// The note of a number, if it is not forgotten.
    pub(super) fn of(&mut self, number: Option<Number>) -> Option<&mut Note> {
        let from_end = usize::try_from(self.next.get().checked_sub(number?.get())?).ok()?;
        let place = self.kept.len().checked_sub(from_end)?;
        self.kept.get_mut(place)
    }

    /// All of them, newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Note> {
        self.kept.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::State,
        testing::{ALICE, BOB, address, chain, checked, pay},
    };

    fn transaction(sequence: u64) -> std::sync::Arc<CheckedTransaction> {
        checked(&State::genesis(chain()), pay(&ALICE, sequence, address(&BOB), 1))
    }

    #[test]
    fn the_first_of_each_second_are_noted_and_the_oldest_forgotten() {
        let (mut notes, one) = (Notes::default(), transaction(0));
        let mut numbers = Vec::new();
        for second in 1..=20_u64 {
            for _ in 0..100 {
                numbers.extend(notes.make(&one, Millis(second * 1000)));
            }
        }
        assert_eq!(numbers.len(), 20 * NOTES_PER_SECOND as usize);
        assert_eq!(notes.iter().count(), NOTES_MAX);
        let (newest, oldest) = (*numbers.last().unwrap(), numbers[0]);
        assert_eq!(notes.of(Some(newest)).unwrap().submitted, Millis(20_000));
        let first_kept = numbers[numbers.len() - NOTES_MAX];
        assert_eq!(notes.of(Some(first_kept)).copied(), notes.iter().last().copied());
        assert_eq!(notes.of(Some(oldest)), None);
        assert_eq!(notes.of(None), None);
    }

    #[test]
    fn a_note_that_is_withdrawn_leaves_the_others_where_they_are() {
        let mut notes = Notes::default();
        let [first, second] = [0, 1].map(transaction);
        let kept = notes.make(&first, Millis(1));
        let gone = notes.make(&second, Millis(1));
        notes.withdraw(gone);
        notes.withdraw(None);
        assert_eq!(notes.of(gone), None);
        assert_eq!(notes.of(kept).unwrap().id, first.id());
        let again = notes.make(&second, Millis(2));
        assert_eq!(notes.of(again).unwrap().id, second.id());
    }
}
