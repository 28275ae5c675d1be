//! Checking many transactions at once, and no signature twice.
//!
//! # Invariants
//!
//! 1. What is remembered was found good by this process, and is found by the hash of every byte of
//!    the transaction, signature and key included: another one has other bytes.
//! 2. Remembering changes no verdict, only what it costs.
//! 3. No lock is held while something is hashed or verified.
//! 4. At most `REMEMBERED_MAX` transactions are remembered; the oldest are forgotten first.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use rayon::prelude::*;

use super::{
    CheckedTransaction, Encoded, TransactionError, TransactionId, VERSION, checked::Findings,
};
use crate::{
    hash::Digest,
    keys::{self, Claim},
    merkle,
    units::Amount,
};

/// Transactions remembered, about 150 bytes each.
pub(super) const REMEMBERED_MAX: usize = 1 << 18;
/// Transactions checked by one task: enough for every lane of the kernel, few enough to share.
const TASK_LEN: usize = 32;

/// A transaction that breaks a rule, and which.
type Fault = (TransactionId, TransactionError);

/// Checks transactions of one chain, and remembers those it found good.
///
/// Everybody in a process who clones one [`Chain`](crate::genesis::Chain) shares its checker, so
/// that a transaction which passes several roles there has its signature checked once.
#[derive(Debug)]
pub struct Checker {
    chain: Digest,
    memory: Mutex<Memory>,
}

impl Checker {
    /// A checker for the chain with this genesis hash, which remembers nothing yet.
    pub fn new(chain: Digest) -> Self {
        Self { chain, memory: Mutex::new(Memory::new(REMEMBERED_MAX)) }
    }

    /// Checks every rule that needs no ledger.
    ///
    /// # Errors
    ///
    /// The id, and the first rule broken: version, payments, sum, signature.
    ///
    /// # Panics
    ///
    /// Never: one transaction has one verdict.
    pub fn check(&self, encoded: Encoded) -> Result<CheckedTransaction, Fault> {
        let leaf = merkle::leaf(encoded.bytes());
        let mut verdicts = self.check_task(vec![encoded], &[leaf]);
        verdicts.pop().expect("one transaction has one verdict")
    }

    /// Checks many in parallel; verdicts are in their order.
    pub fn check_all(
        &self,
        transactions: Vec<Encoded>,
    ) -> Vec<Result<Arc<CheckedTransaction>, Fault>> {
        let leaves = merkle::leaves(&transactions, Encoded::bytes);
        self.check_hashed(transactions, &leaves)
    }

    /// [`Checker::check_all`] of transactions whose leaves are known.
    pub(crate) fn check_hashed(
        &self,
        transactions: Vec<Encoded>,
        leaves: &[Digest],
    ) -> Vec<Result<Arc<CheckedTransaction>, Fault>> {
        let tasks = split(transactions).into_par_iter().zip(leaves.par_chunks(TASK_LEN));
        let verdicts = tasks.map(|(task, leaves)| {
            let verdicts = self.check_task(task, leaves).into_iter();
            verdicts.map(|verdict| verdict.map(Arc::new)).collect::<Vec<_>>()
        });
        verdicts.flatten_iter().collect()
    }

    fn check_task(
        &self,
        task: Vec<Encoded>,
        leaves: &[Digest],
    ) -> Vec<Result<CheckedTransaction, Fault>> {
        let known = self.memory().recall(leaves);
        let unknown = task.iter().zip(&known).filter(|(_, known)| known.is_none());
        let mut judged = judge(unknown.map(|(encoded, _)| encoded), &self.chain).into_iter();
        let verdicts = task.into_iter().zip(leaves).zip(known).map(|((encoded, &leaf), known)| {
            let findings = match known {
                Some(findings) => findings,
                None => judged.next().expect("every unknown one was judged")?,
            };
            Ok(CheckedTransaction { encoded, leaf, findings })
        });
        let verdicts: Vec<_> = verdicts.collect();
        self.memory().remember(verdicts.iter().flatten());
        verdicts
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks one transaction and remembers nothing.
pub(super) fn check_one(
    encoded: Encoded,
    chain: &Digest,
) -> Result<CheckedTransaction, TransactionError> {
    let leaf = merkle::leaf(encoded.bytes());
    let verdict = judge([&encoded], chain).pop().expect("one transaction has one verdict");
    let findings = verdict.map_err(|(_, error)| error)?;
    Ok(CheckedTransaction { encoded, leaf, findings })
}

fn split(transactions: Vec<Encoded>) -> Vec<Vec<Encoded>> {
    let (count, mut rest) = (transactions.len().div_ceil(TASK_LEN), transactions.into_iter());
    (0..count).map(|_| rest.by_ref().take(TASK_LEN).collect()).collect()
}

/// A transaction whose fields are good, with what its signature has to be checked against.
struct Signed<'a> {
    encoded: &'a Encoded,
    findings: Findings,
}

/// The verdict on every transaction, in order; signatures are verified together.
fn judge<'a>(
    transactions: impl IntoIterator<Item = &'a Encoded>,
    chain: &Digest,
) -> Vec<Result<Findings, Fault>> {
    let examined: Vec<_> = transactions.into_iter().map(|t| examine(t, chain)).collect();
    let signed = examined.iter().flatten();
    let parts: Vec<_> =
        signed.map(|s| (s.encoded.sender(), s.encoded.signature(), s.findings.id)).collect();
    let claims: Vec<_> = parts
        .iter()
        .map(|(key, signature, id)| Claim { key, message: id.as_bytes(), signature })
        .collect();
    let mut verified = keys::verify_each(&claims).into_iter();
    let verdicts = examined.into_iter().map(|examined| {
        let Signed { findings, .. } = examined?;
        let verified = verified.next().expect("every claim has a verdict");
        verified.map(|()| findings).map_err(|error| (findings.id, error.into()))
    });
    verdicts.collect()
}

fn examine<'a>(encoded: &'a Encoded, chain: &Digest) -> Result<Signed<'a>, Fault> {
    let id = encoded.id(chain);
    let spent = check_fields(encoded).map_err(|error| (id, error))?;
    let sender = encoded.sender().address();
    Ok(Signed { encoded, findings: Findings { id, sender, spent } })
}

fn check_fields(encoded: &Encoded) -> Result<Amount, TransactionError> {
    let got = encoded.version();
    if got != VERSION {
        return Err(TransactionError::Version { got });
    }
    if let Some(index) = encoded.payments().position(|p| p.amount == Amount::ZERO) {
        return Err(TransactionError::EmptyPayment { index });
    }
    let amounts = encoded.payments().map(|payment| payment.amount);
    Amount::checked_sum(amounts.chain([encoded.fee()])).ok_or(TransactionError::Overflow)
}

/// What was found, by leaf: two generations, of which the older is forgotten as a whole.
#[derive(Debug)]
struct Memory {
    max: usize,
    young: HashMap<Digest, Findings>,
    old: HashMap<Digest, Findings>,
}

impl Memory {
    fn new(max: usize) -> Self {
        Self { max, young: HashMap::new(), old: HashMap::new() }
    }

    fn recall(&self, leaves: &[Digest]) -> Vec<Option<Findings>> {
        leaves
            .iter()
            .map(|leaf| self.young.get(leaf).or_else(|| self.old.get(leaf)).copied())
            .collect()
    }

    fn remember<'a>(&mut self, checked: impl Iterator<Item = &'a CheckedTransaction>) {
        for transaction in checked {
            self.young.insert(transaction.leaf, transaction.findings);
            if self.young.len() >= self.max.div_ceil(2) {
                self.old = mem::take(&mut self.young);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keys::SignatureError,
        testing::{ALICE, BOB, address, pay},
        transaction::Transaction,
    };

    fn signed(sequence: u64) -> Transaction {
        pay(&ALICE, sequence, address(&BOB), 1)
    }

    fn checker() -> Checker {
        let chain = crate::testing::genesis().hash();
        Checker::new(chain)
    }

    fn encoded(transactions: &[Transaction]) -> Vec<Encoded> {
        transactions.iter().map(Encoded::from).collect()
    }

    /// Good and bad ones of every kind, more than one task.
    fn mixed() -> Vec<Transaction> {
        let mut all: Vec<_> = (0..70).map(signed).collect();
        all[3].signature.0[200] ^= 1;
        all[4].version = 9;
        all[33].sequence = 99;
        all[66].sender = *BOB.public();
        all
    }

    #[test]
    fn verdicts_are_those_of_one_by_one_again_and_again() {
        let (checker, all) = (checker(), mixed());
        let alone = all.iter().map(|transaction| {
            let id = transaction.id(&checker.chain);
            transaction.check(&checker.chain).map(Arc::new).map_err(|error| (id, error))
        });
        let alone: Vec<_> = alone.collect();
        for _ in 0..3 {
            assert_eq!(checker.check_all(encoded(&all)), alone);
        }
        assert_eq!(alone.iter().filter(|verdict| verdict.is_err()).count(), 4);
        assert!(checker.check_all(vec![]).is_empty());
    }

    /// A signature that was good for one transaction is nothing to another.
    #[test]
    fn what_is_remembered_is_every_byte() {
        let (checker, good) = (checker(), signed(0));
        checker.check(Encoded::from(&good)).unwrap();
        let len = good.encoded_len();
        for at in [0, 1, 5, 257, 258, 270, 280, 300, 330, len - 256, len - 1] {
            let mut bytes = crate::codec::encode(&good);
            bytes[at] ^= 1;
            let Ok(changed) = crate::codec::decode::<Encoded>(&bytes) else { continue };
            assert!(checker.check(changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn only_what_was_found_good_is_remembered_and_found_without_its_signature() {
        let (checker, good) = (checker(), signed(0));
        let mut forged = good.clone();
        forged.signature.0[255] ^= 1;
        let error = checker.check(Encoded::from(&forged)).unwrap_err().1;
        assert_eq!(error, TransactionError::Signature(SignatureError::Mismatch));
        assert!(checker.memory().young.is_empty());
        let first = checker.check(Encoded::from(&good)).unwrap();
        assert_eq!(checker.memory().recall(&[first.leaf()]), [Some(first.findings)]);
        // If it verified again, this lie would come to light.
        let lie = Findings { sender: address(&BOB), ..first.findings };
        checker.memory().young.insert(first.leaf(), lie);
        assert_eq!(checker.check(Encoded::from(&good)).unwrap().sender(), address(&BOB));
    }

    #[test]
    fn half_as_many_as_there_is_room_for_are_never_forgotten() {
        let checker = checker();
        let all = checker.check_all(encoded(&(0..4).map(signed).collect::<Vec<_>>()));
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        let leaves: Vec<_> = all.iter().map(|transaction| transaction.leaf()).collect();
        let mut memory = Memory::new(8);
        memory.remember(all.iter().map(|transaction| &**transaction));
        assert!(memory.recall(&leaves).iter().all(Option::is_some));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let checker = checker();
        let all = checker.check_all(encoded(&(0..9).map(signed).collect::<Vec<_>>()));
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        let mut memory = Memory::new(4);
        for (count, transaction) in (1..).zip(&all) {
            memory.remember([&**transaction].into_iter());
            assert!(memory.young.len() + memory.old.len() <= 4, "after {count}");
            assert!(memory.recall(&[transaction.leaf()])[0].is_some());
        }
        assert_eq!(memory.recall(&[all[0].leaf()]), [None]);
    }
}
