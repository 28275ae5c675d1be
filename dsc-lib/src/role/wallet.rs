//! The wallet: sends one transaction and follows it to its end.
//!
//! # Invariants
//!
//! 1. The same signed bytes are submitted until their end is known, so a lost answer never leads
//!    to a second payment.
//! 2. It counts a transaction as confirmed only after checking the inclusion proof itself.
//! 3. It ends: confirmed, rejected, or expired when the ledger has passed the last height for it.
//! 4. That the ledger does not have it counts only as of a height by which it would: of several
//!    servers one may be behind another, and behind the pool.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Active, Answer, Call, Lost, Next, Refusal, Sought,
    blockchain::{AccountAt, Inclusion},
    pool,
};
use crate::{
    genesis::Chain,
    keys::SecretKey,
    mempool::Status,
    transaction::{Draft, Encoded, Memo, Payments, Transaction, TransactionId},
    units::{Amount, Height, Millis},
};

/// Pause between two looks at how the transaction stands.
const LOOK_PAUSE: Millis = Millis(100);
/// Pause after a lost or unusable answer.
const RETRY_PAUSE: Millis = Millis(250);
/// What the pool calls the end of a transaction that gave way to better paying ones.
const EVICTED: &str = "evicted";
/// What a pool calls it that the ledger has a transaction of that sequence: maybe this one.
const SEQUENCE_USED: &str = "sequence-used";

/// What to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Who receives how much.
    pub payments: Payments,
    /// What the winner of the block receives.
    pub fee: Amount,
    /// Bytes for the recipients.
    pub memo: Memo,
    /// Heights from now within which it may be included.
    pub lifetime: u64,
    /// Blocks wanted, from the one it is in to the tip; at least one.
    pub confirmations: u64,
}

/// How a payment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
#[non_exhaustive]
pub enum End {
    /// On the ledger, proved.
    Confirmed {
        /// At this height.
        height: Height,
    },
    /// Refused; it cannot get onto the ledger.
    Rejected(Refusal),
    /// Its last height has passed.
    Expired {
        /// The last height it was good for.
        height: Height,
    },
}

#[derive(Clone, Debug)]
enum Phase {
    /// Asking the pool for the sequence to sign.
    Sequence(Box<(SecretKey, Order)>),
    /// Handing the signed bytes to the pool.
    Submit,
    /// Asking the pool how it stands.
    Look,
    /// Asking the ledger whether it is there; if it is not, this refusal is the end.
    Locate(Option<Refusal>),
    /// Asking the ledger whether its sequence is used, as this refusal says.
    Check(Refusal),
    /// Asking the ledger how far it is.
    Follow,
    Ended(End),
}

/// One payment on its way.
#[derive(Debug)]
pub struct Payment {
    chain: Chain,
    phase: Phase,
    transaction: Option<Transaction>,
    /// The same as it travels.
    encoded: Arc<Vec<Encoded>>,
    id: Option<TransactionId>,
    confirmations: u64,
    inclusion: Option<Box<Inclusion>>,
    /// Whether the ledger has passed the last height for it.
    passed: bool,
    /// The height from which on it can be on the ledger.
    since: Height,
    /// The height as of which it would be there if it ever were.
    as_of: Option<Height>,
    wake_at: Millis,
    fault: Option<String>,
}

impl Payment {
    /// A payment still to be signed, with the sequence the pool names.
    pub fn new(chain: Chain, key: SecretKey, order: Order) -> Self {
        let confirmations = order.confirmations;
        Self::at(chain, Phase::Sequence(Box::new((key, order))), confirmations)
    }

    /// A payment signed before, to be submitted and followed.
    pub fn resume(chain: Chain, transaction: Transaction, confirmations: u64) -> Self {
        let mut payment = Self::at(chain, Phase::Submit, confirmations);
        payment.hold(transaction);
        payment
    }

    fn at(chain: Chain, phase: Phase, confirmations: u64) -> Self {
        Self {
            chain,
            phase,
            transaction: None,
            encoded: Arc::default(),
            id: None,
            confirmations: confirmations.max(1),
            inclusion: None,
            passed: false,
            since: Height(0),
            as_of: None,
            wake_at: Millis(0),
            fault: None,
        }
    }

    /// The transaction's id, once it is signed.
    pub fn id(&self) -> Option<TransactionId> {
        self.id
    }

    /// The signed transaction, once there is one.
    pub fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_ref()
    }

    /// Whether the pool has acknowledged it; one that it refused was not.
    pub fn is_submitted(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Sequence(_) | Phase::Submit | Phase::Locate(Some(_)) | Phase::Check(_)
        )
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// The checked proof that it is on the ledger, once it is.
    pub fn inclusion(&self) -> Option<&Inclusion> {
        self.inclusion.as_deref()
    }

    /// What went wrong last, if it is not mended.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    fn hold(&mut self, transaction: Transaction) {
        self.id = Some(transaction.id(&self.chain.hash()));
        self.encoded = Arc::new(vec![Encoded::from(&transaction)]);
        self.transaction = Some(transaction);
        self.phase = Phase::Submit;
    }

    fn sign(&mut self, key: &SecretKey, order: &Order, next: pool::NextSequence) {
        let draft = Draft {
            sequence: next.sequence,
            expires: Height(next.height.0.saturating_add(order.lifetime)),
            fee: order.fee,
            payments: order.payments.clone(),
            memo: order.memo.clone(),
        };
        self.since = next.height;
        self.hold(draft.sign(&self.chain.hash(), key));
    }

    fn submitted(&mut self, now: Millis, outcome: Option<pool::Outcome>) {
        match outcome {
            Some(pool::Outcome::Added { .. } | pool::Outcome::Known { .. }) => {
                self.look_later(now, Phase::Look);
            }
            Some(pool::Outcome::Rejected { refusal, retry: true, .. }) => {
                self.fail(now, refusal.to_string());
            }
            // It may be on the ledger already, if an earlier answer was lost: look there first.
            Some(pool::Outcome::Rejected { refusal, .. }) => {
                self.phase = Phase::Locate(Some(refusal));
            }
            None => self.fail(now, "the pool answered for no transaction".into()),
        }
    }

    fn looked(&mut self, now: Millis, status: Option<Status>) {
        match status {
            Some(Status::Submitted | Status::Unconfirmed { .. }) => {
                self.look_later(now, Phase::Look);
            }
            // One that was pushed out may be submitted again while it is good.
            Some(Status::Rejected { code, reason }) if code != EVICTED => {
                self.phase = Phase::Locate(Some(Refusal { code, reason }));
            }
            // Confirmed or expired, as the pool says: the ledger decides.
            _ => self.phase = Phase::Locate(None),
        }
    }

    fn located(&mut self, now: Millis, inclusion: Option<Box<Inclusion>>) {
        match inclusion {
            Some(inclusion) => self.found(now, inclusion),
            None => self.absent(),
        }
    }

    fn found(&mut self, now: Millis, inclusion: Box<Inclusion>) {
        let id = self.id.unwrap_or_default();
        if let Err(fault) = inclusion.verify(&self.chain, &id) {
            self.fail(now, format!("the blockchain server's inclusion proof: {fault}"));
            return;
        }
        let height = inclusion.header.height;
        let depth = inclusion.tip.0.saturating_sub(height.0).saturating_add(1);
        self.inclusion = Some(inclusion);
        if depth >= self.confirmations {
            self.phase = Phase::Ended(End::Confirmed { height });
        } else {
            self.look_later(now, Phase::Locate(None));
        }
    }

    /// The ledger does not have it. That is the end if it was refused or is past its last height.
    fn absent(&mut self) {
        let height = self.transaction().map_or(Height(0), |t| t.expires);
        self.phase = match &self.phase {
            Phase::Locate(Some(refusal)) if self.may_be_behind(refusal) => {
                Phase::Check(refusal.clone())
            }
            Phase::Locate(Some(refusal)) => Phase::Ended(End::Rejected(refusal.clone())),
            _ if self.passed => Phase::Ended(End::Expired { height }),
            _ => Phase::Follow,
        };
    }

    /// Whether the refusal may have been by a block that the server asked did not have yet.
    fn may_be_behind(&self, refusal: &Refusal) -> bool {
        self.as_of.is_none() && refusal.code == SEQUENCE_USED
    }

    /// Once the ledger itself says that the sequence is used, it is asked by what, as of then.
    fn checked(&mut self, refusal: Refusal, account: AccountAt) {
        let sequence = self.transaction().map_or(u64::MAX, |transaction| transaction.sequence);
        if account.sequence > sequence {
            self.as_of = account.height;
            self.phase = Phase::Locate(Some(refusal));
        } else {
            self.phase = Phase::Follow;
        }
    }

    /// The height must be known before the ledger is asked a last time, or a block in between
    /// could hold the transaction.
    fn followed(&mut self, now: Millis, height: Option<Height>) {
        let expires = self.transaction().map(|transaction| transaction.expires);
        self.passed = height >= expires;
        if self.passed {
            self.as_of = height;
            self.phase = Phase::Locate(None);
        } else {
            // A pool that has lost it takes the same bytes again; one that has not ignores them.
            self.look_later(now, Phase::Submit);
        }
    }

    fn look_later(&mut self, now: Millis, phase: Phase) {
        self.fault = None;
        self.phase = phase;
        self.wake_at = now.plus(LOOK_PAUSE);
    }

    fn fail(&mut self, now: Millis, fault: String) {
        self.fault = Some(fault);
        self.wake_at = now.plus(RETRY_PAUSE);
    }

    fn call(&self) -> Option<Call> {
        let id = self.id.unwrap_or_default();
        match &self.phase {
            Phase::Sequence(order) => Some(Call::NextSequence(order.0.public().address())),
            Phase::Submit => Some(Call::SubmitTransactions(self.encoded.clone())),
            Phase::Look => Some(Call::PoolStatus(id)),
            Phase::Locate(_) => {
                Some(Call::Inclusion(Sought { id, since: self.since, as_of: self.as_of }))
            }
            Phase::Check(_) => {
                self.transaction().map(|signed| Call::Account(signed.sender.address()))
            }
            Phase::Follow => Some(Call::ChainInfo),
            Phase::Ended(_) => None,
        }
    }
}

impl Active for Payment {
    fn next(&mut self, now: Millis) -> Next {
        match self.call() {
            None => Next::Done,
            Some(_) if now < self.wake_at => Next::Wait(self.wake_at),
            Some(call) => Next::Call(call),
        }
    }

    fn answer(&mut self, now: Millis, answer: Result<Answer, Lost>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(lost) => return self.fail(now, lost.to_string()),
        };
        match (self.phase.clone(), answer) {
            (Phase::Sequence(order), Answer::NextSequence(next)) => {
                self.sign(&order.0, &order.1, next);
            }
            (Phase::Submit, Answer::TransactionsSubmitted(outcomes)) => {
                self.submitted(now, outcomes.into_iter().next());
            }
            (Phase::Look, Answer::PoolStatus(status)) => self.looked(now, status),
            (Phase::Locate(_), Answer::Inclusion(found)) => self.located(now, found),
            (Phase::Check(refusal), Answer::Account(account)) => self.checked(refusal, account),
            (Phase::Follow, Answer::ChainInfo(info)) => self.followed(now, info.height),
            (_, Answer::Refused(refusal)) => self.fail(now, refusal.to_string()),
            _ => self.fail(now, "the other role answered another question".into()),
        }
    }
}
