//! The pool's transactions in every order they are asked for.
//!
//! # Invariants
//!
//! 1. `ready` and `tails` list each sender's head and last one as [`Index::relist`] left them.
//! 2. The order of each index depends on transactions and arrivals alone.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    iter,
};

use super::{
    FeeRate,
    queue::{Pending, Queue},
};
use crate::{address::Address, transaction::TransactionId, units::Height};

/// A sender's next transaction; the least is handed out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Head {
    rate: Reverse<FeeRate>,
    arrival: u64,
    pub(super) sender: Address,
}

/// A sender's last transaction; the least is evicted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tail {
    /// Whether nothing is missing before it.
    pub(super) ready: bool,
    /// The sender's lowest rate.
    pub(super) rate: FeeRate,
    arrival: Reverse<u64>,
    pub(super) sender: Address,
}

/// A sender's transactions, and what the indexes list of them.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) queue: Queue,
    head: Option<Head>,
    tail: Option<Tail>,
    handed_count: u64,
}

impl Sender {
    pub(super) fn new(base: u64) -> Self {
        Self { queue: Queue::new(base), head: None, tail: None, handed_count: 0 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) ids: HashMap<TransactionId, (Address, u64)>,
    pub(super) ready: BTreeSet<Head>,
    pub(super) tails: BTreeSet<Tail>,
    /// By the last height each may be included at.
    expiring: BTreeSet<(Height, Address, u64)>,
    /// Senders something was handed out of, for each height; it may be back already.
    handed: BTreeSet<(Height, Address)>,
    pub(super) bytes: u64,
    pub(super) handed_count: u64,
}

impl Index {
    pub(super) fn add(&mut self, pending: &Pending) {
        let (sender, sequence) = (pending.transaction.sender(), pending.sequence());
        self.ids.insert(pending.transaction.id(), (sender, sequence));
        self.expiring.insert((pending.transaction.expires(), sender, sequence));
        self.bytes = self.bytes.saturating_add(pending.len());
    }

    pub(super) fn remove(&mut self, pending: &Pending) {
        let (sender, sequence) = (pending.transaction.sender(), pending.sequence());
        self.ids.remove(&pending.transaction.id());
        self.expiring.remove(&(pending.transaction.expires(), sender, sequence));
        self.bytes = self.bytes.saturating_sub(pending.len());
    }

    /// Lists what has changed of a sender; to be called after every change.
    pub(super) fn relist(&mut self, address: Address, sender: &mut Sender) {
        let head = head_of(address, &sender.queue);
        relist(&mut self.ready, &mut sender.head, head);
        let tail = tail_of(address, &sender.queue);
        relist(&mut self.tails, &mut sender.tail, tail);
        let handed_count = sender.queue.handed_count();
        self.handed_count = self.handed_count.saturating_sub(sender.handed_count);
        self.handed_count = self.handed_count.saturating_add(handed_count);
        sender.handed_count = handed_count;
    }

    pub(super) fn hand(&mut self, height: Height, sender: Address) {
        self.handed.insert((height, sender));
    }

    /// The senders something was handed out of for `height` or later, in order.
    pub(super) fn handed_from(&mut self, height: Height) -> BTreeSet<Address> {
        let last = || pop_last_if(&mut self.handed, |(at, _)| *at >= height);
        iter::from_fn(last).map(|(_, sender)| sender).collect()
    }

    /// The senders something was handed out of for `height` or earlier, in order.
    pub(super) fn handed_until(&mut self, height: Height) -> BTreeSet<Address> {
        let first = || pop_first_if(&mut self.handed, |(at, _)| *at <= height);
        iter::from_fn(first).map(|(_, sender)| sender).collect()
    }

    /// Sender and sequence of those that may be included at `height` or earlier only, in order.
    pub(super) fn expiring_until(&mut self, height: Height) -> Vec<(Address, u64)> {
        let first = || pop_first_if(&mut self.expiring, |(expires, ..)| *expires <= height);
        iter::from_fn(first).map(|(_, sender, sequence)| (sender, sequence)).collect()
    }
}

fn pop_first_if<T: Ord>(set: &mut BTreeSet<T>, wanted: impl Fn(&T) -> bool) -> Option<T> {
    if set.first().is_some_and(wanted) { set.pop_first() } else { None }
}

fn pop_last_if<T: Ord>(set: &mut BTreeSet<T>, wanted: impl Fn(&T) -> bool) -> Option<T> {
    if set.last().is_some_and(wanted) { set.pop_last() } else { None }
}

fn relist<T: Copy + Ord>(index: &mut BTreeSet<T>, listed: &mut Option<T>, now: Option<T>) {
    if *listed == now {
        return;
    }
    if let Some(listed) = listed {
        index.remove(listed);
    }
    index.extend(now);
    *listed = now;
}

fn head_of(sender: Address, queue: &Queue) -> Option<Head> {
    let head = queue.head()?;
    Some(Head { rate: Reverse(head.rate), arrival: head.arrival, sender })
}

fn tail_of(sender: Address, queue: &Queue) -> Option<Tail> {
    let tail = queue.tail()?;
    let ready = !queue.holds(tail.sequence());
    Some(Tail { ready, rate: queue.rate_min()?, arrival: Reverse(tail.arrival), sender })
}
