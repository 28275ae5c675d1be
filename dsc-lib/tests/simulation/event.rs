//! Who there is, what can happen, and how it reads in a trace.

use std::{collections::BTreeMap, fmt};

use dsc_lib::{
    role::{Answer, Call, Finished, Lost, validator::Job},
    transaction::Encoded,
    units::Millis,
};

use crate::faults::Fault;

/// A machine with one role on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Blockchain,
    Pool,
    Metronome,
    Monitor,
    Validator(usize),
    Wallet(usize),
    /// The adversaries': a validator, a metronome and a wallet.
    Forger,
    Cheat,
    Thief,
}

/// Wallets there are; payments are dealt to them in turn.
pub(crate) const WALLETS: usize = 2;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    Pool,
    Metronome,
    Monitor,
    Validator(usize),
    Payment(usize),
    Forger,
    Cheat,
    Thief,
}

impl Caller {
    /// The machine it runs on.
    pub(crate) const fn node(self) -> Node {
        match self {
            Self::Pool => Node::Pool,
            Self::Metronome => Node::Metronome,
            Self::Monitor => Node::Monitor,
            Self::Validator(index) => Node::Validator(index),
            Self::Payment(index) => Node::Wallet(index % WALLETS),
            Self::Forger => Node::Forger,
            Self::Cheat => Node::Cheat,
            Self::Thief => Node::Thief,
        }
    }
}

impl Caller {
    pub(crate) const fn is_honest(self) -> bool {
        !matches!(self, Self::Forger | Self::Cheat | Self::Thief)
    }
}

/// The machine that answers a call.
pub(crate) fn server_of(call: &Call) -> Node {
    match call {
        Call::Snapshot
        | Call::Blocks { .. }
        | Call::SubmitBlock(_)
        | Call::ChainInfo
        | Call::Summaries { .. }
        | Call::Audit
        | Call::Account(_)
        | Call::Inclusion(_) => Node::Blockchain,
        Call::Round { .. } | Call::HandIn(_) | Call::MetronomeStatus => Node::Metronome,
        _ => Node::Pool,
    }
}

/// How long the server may hold a call back.
pub(crate) fn wait_of(call: &Call) -> Millis {
    match call {
        Call::Blocks { wait, .. } | Call::Round { wait, .. } => *wait,
        _ => Millis(0),
    }
}

/// A call that has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) caller: Caller,
    pub(crate) ticket: u64,
    pub(crate) call: Call,
}

/// What can happen. Tickets tell what a role still waits for from what it has given up.
#[derive(Debug)]
pub(crate) enum Event {
    /// The caller may have something to do.
    Wake(Caller, u64),
    Request(Asked),
    Reply(Caller, u64, Result<Answer, Lost>),
    Timeout(Caller, u64),
    Worked(Caller, u64, Finished),
    Proved(usize, u64, Job),
    /// Somebody wants to pay.
    Order(usize),
    /// A call was held back long enough.
    Overdue(Node, u64),
    /// The disk of a machine has done what it was asked.
    Stored(Node, u64),
    Begin(Fault),
    End(Fault),
    /// A machine that was down comes up.
    Start(Node),
    /// Faults and adversaries end.
    Quiet,
}

impl Event {
    /// The machine that it happens on, unless it happens to all.
    pub(crate) const fn node(&self) -> Option<Node> {
        match self {
            Self::Wake(caller, _)
            | Self::Reply(caller, ..)
            | Self::Timeout(caller, _)
            | Self::Worked(caller, ..) => Some(caller.node()),
            Self::Proved(index, ..) => Some(Node::Validator(*index)),
            Self::Overdue(node, _) | Self::Stored(node, _) => Some(*node),
            Self::Request(_)
            | Self::Order(_)
            | Self::Begin(_)
            | Self::End(_)
            | Self::Start(_)
            | Self::Quiet => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(Asked { caller, ticket, call }) => {
                write!(f, "{caller:?} #{ticket} asks {:?}: {}", server_of(call), Brief(call))
            }
            Self::Reply(caller, ticket, Ok(answer)) => {
                write!(f, "{caller:?} #{ticket} is told {}", BriefAnswer(answer))
            }
            Self::Reply(caller, ticket, Err(lost)) => write!(f, "{caller:?} #{ticket}: {lost}"),
            Self::Worked(caller, ticket, _) => write!(f, "{caller:?} #{ticket} has worked"),
            Self::Proved(index, ticket, job) => {
                write!(f, "Validator({index}) #{ticket} has proved for {}", job.height)
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// A few digits that stand for some bytes.
pub(crate) fn name(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..8].to_owned()
}

fn names<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> String {
    all.into_iter().map(name).collect::<Vec<_>>().join(" ")
}

/// A call in one line.
struct Brief<'a>(&'a Call);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Call::SubmitBlock(bytes) => write!(f, "SubmitBlock {}", name(bytes)),
            Call::SubmitTransactions(all) => {
                write!(f, "SubmitTransactions {}", names(all.iter().map(Encoded::bytes)))
            }
            Call::HandIn(hand_in) => {
                let proof = hand_in.proof.as_ref().map(|proof| name(&proof.bytes));
                write!(f, "HandIn {} {} {proof:?}", hand_in.height, hand_in.kind.name())
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// An answer in one line.
pub(crate) struct BriefAnswer<'a>(pub(crate) &'a Answer);

impl fmt::Display for BriefAnswer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Answer::Snapshot(bytes) => write!(f, "Snapshot {}", name(bytes)),
            Answer::Blocks(all) => write!(f, "Blocks {}", names(all.iter().map(Vec::as_slice))),
            Answer::Transactions(all) => {
                write!(f, "Transactions {}", names(all.iter().map(Encoded::bytes)))
            }
            Answer::ChainInfo(info) => write!(f, "ChainInfo {:?} {}", info.height, info.tip),
            Answer::Inclusion(found) => {
                let header = found.as_ref().map(|found| found.header.height);
                write!(f, "Inclusion {header:?} {:?}", found.as_ref().map(|found| found.tip))
            }
            Answer::PoolActivity(activity) => {
                write!(f, "PoolActivity {:?} {:?}", activity.height, activity.counts)
            }
            Answer::MetronomeStatus(status) => {
                let round = status.round.as_ref().map(|round| round.height);
                write!(f, "MetronomeStatus {round:?} {:?}", status.fault)
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// What is to happen, in order of time; at one time in the order it was put down.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: BTreeMap<(Millis, u64), Event>,
    count: u64,
}

impl Queue {
    /// A number that was not given before.
    pub(crate) fn ticket(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub(crate) fn push(&mut self, at: Millis, event: Event) {
        let ticket = self.ticket();
        self.events.insert((at, ticket), event);
    }

    pub(crate) fn pop(&mut self) -> (Millis, Event) {
        let ((at, _), event) = self.events.pop_first().expect("somebody is always waiting");
        (at, event)
    }
}
