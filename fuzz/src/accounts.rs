//! The ledger beside a model of it: a map from addresses to balances and sequences, in 128 bits.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use dsc_lib::{
    address::Address,
    block::{Block, Header},
    codec::{List, decode},
    commitment::{Account, Commitment},
    genesis::{Chain, Endowment, Genesis, Limits},
    hash::Digest,
    keys::SecretKey,
    ledger::{CheckedBlock, LeftOut, Proposal, State, Tip},
    proof::{Fingerprint, Miner, Proof, ProofEntry, ProofKind},
    testing::{self, ALICE, BOB, CAROL, METRONOME, MINER, STRANGER, address, unchecked},
    transaction::{
        CheckedTransaction, Draft, Encoded, Payment, Payments, Transaction, TransactionError,
    },
    units::{Amount, Height, Millis, Quality, Target},
};

use crate::script::Script;

/// Blocks in one run.
const BLOCKS_MAX: usize = 12;
/// So few that blocks are full now and then.
const BLOCK_TRANSACTIONS: u32 = 5;
const REWARD: u64 = 1 << 40;
const HALVING: u64 = 3;

static KEYS: LazyLock<[&SecretKey; 5]> =
    LazyLock::new(|| [&*ALICE, &*BOB, &*CAROL, &*MINER, &*STRANGER]);

/// Two who hold all that there can be, but for the rewards, and three who hold nothing.
static CHAIN: LazyLock<Chain> = LazyLock::new(|| {
    let rewards = 2 * REWARD * HALVING;
    let mut accounts = [(address(&ALICE), u64::MAX - rewards - 1000), (address(&BOB), 1000)]
        .map(|(address, units)| Endowment { address, balance: Amount::from_units(units) });
    accounts.sort_unstable_by_key(|account| account.address);
    let limits = Limits { block_transactions: BLOCK_TRANSACTIONS, block_bytes: 1 << 16 };
    let genesis = Genesis {
        reward: Amount::from_units(REWARD),
        halving: HALVING,
        limits,
        accounts: List::new(accounts.to_vec()).expect("two accounts"),
        ..testing::genesis()
    };
    genesis.check().expect("the most coins there can be")
});

/// What the ledger should hold.
#[derive(Debug)]
struct Model {
    accounts: BTreeMap<Address, (u128, u64)>,
    supply: u128,
    height: u64,
    targets: Vec<u128>,
}

impl Model {
    fn new() -> Self {
        let endowed = CHAIN.genesis().accounts.iter();
        let endowed = endowed.map(|e| (e.address, (u128::from(e.balance.units()), 0)));
        let accounts: BTreeMap<_, _> = endowed.collect();
        let supply = accounts.values().map(|(balance, _)| balance).sum();
        let targets = CHAIN.first_targets().map(|target| target.0.into()).to_vec();
        Self { accounts, supply, height: 0, targets }
    }

    fn account(&self, address: &Address) -> (u128, u64) {
        self.accounts.get(address).copied().unwrap_or_default()
    }

    /// Applies a transaction, or says why it cannot be.
    fn apply(
        &mut self,
        sender: Address,
        transaction: &Transaction,
    ) -> Result<(), TransactionError> {
        let (balance, expected) = self.account(&sender);
        let (got, expires) = (transaction.sequence, transaction.expires);
        if got != expected {
            return Err(TransactionError::Sequence { got, expected });
        }
        if expires.0 < self.height {
            return Err(TransactionError::Expired { expires, height: Height(self.height) });
        }
        let needed = spent(transaction);
        let Some(left) = balance.checked_sub(needed) else {
            let [needed, balance] = [needed, balance].map(amount);
            return Err(TransactionError::InsufficientFunds { needed, balance });
        };
        self.accounts.insert(sender, (left, got + 1));
        for payment in &transaction.payments {
            self.credit(payment.to, payment.amount.units().into());
        }
        Ok(())
    }

    fn credit(&mut self, to: Address, units: u128) {
        self.accounts.entry(to).or_default().0 += units;
    }

    /// Ends a block whose transactions left `fees`.
    fn settle(&mut self, winner: Option<Address>, fees: u128, quality: Option<u64>) {
        let reward = u128::from(REWARD) >> (self.height / HALVING).min(127);
        match winner {
            Some(winner) => self.credit(winner, reward + fees),
            None => self.supply -= fees,
        }
        self.supply += if winner.is_some() { reward } else { 0 };
        // The blocks of these runs have proofs of work alone.
        for (target, quality) in self.targets.iter_mut().zip([quality, None, None]) {
            let observed =
                quality.map_or(33 * *target / 10, |quality| 23 * u128::from(quality) / 10);
            *target = ((15 * *target + observed) / 16).clamp(1, u64::MAX.into());
        }
        self.height += 1;
    }

    fn compare(&self, state: &State) {
        let expected: BTreeMap<_, _> =
            self.accounts.iter().filter(|(_, held)| **held != (0, 0)).collect();
        assert_eq!(state.accounts().len(), expected.len());
        let account = |&(balance, sequence)| Account { balance: amount(balance), sequence };
        let accounts: Vec<_> =
            expected.into_iter().map(|(address, held)| (*address, account(held))).collect();
        for (address, account) in &accounts {
            assert_eq!(state.account(address), *account, "{address:?}");
        }
        let sum: Commitment =
            accounts.iter().map(|(address, account)| (address, account)).collect();
        assert_eq!(state.commitment(), sum.digest());
        assert_eq!(u128::from(state.supply().units()), self.supply);
        assert!(state.supply_holds());
        assert_eq!(state.round().height.0, self.height);
        assert_eq!(state.round().targets.map(|target| u128::from(target.0)).to_vec(), self.targets);
    }
}

fn amount(units: u128) -> Amount {
    Amount::from_units(u64::try_from(units).expect("no more than there is"))
}

fn spent(transaction: &Transaction) -> u128 {
    let paid = transaction.payments.iter().map(|payment| payment.amount);
    paid.chain([transaction.fee]).map(|amount| u128::from(amount.units())).sum()
}

/// Blocks of any transactions: the ledger takes, leaves out and ends with what the model does, and
/// a block that it drafts passes its own check, unless it is changed and signed again.
pub fn accounts(data: &[u8]) {
    let mut script = Script::new(data);
    // Signing costs ten times what the rest does, so most runs take senders for granted.
    let signed = script.byte() % 16 == 0;
    let (mut state, mut model) = (State::genesis(CHAIN.clone()), Model::new());
    for _ in 0..BLOCKS_MAX {
        if script.is_over() {
            break;
        }
        step(&mut script, signed, &mut state, &mut model);
        model.compare(&state);
    }
}

fn step(script: &mut Script<'_>, signed: bool, state: &mut State, model: &mut Model) {
    let count = script.below(8);
    // Sequences are counted on, so that several of a sender fit one block.
    let mut ahead = BTreeMap::new();
    let candidates = (0..count).filter_map(|_| candidate(script, signed, model, &mut ahead));
    let candidates: Vec<_> = candidates.collect();
    let winner = script.flag().then(|| work(script));
    let (time, epoch) = (script.around(state.tip().time.0), script.around(state.tip().epoch));
    let proposal = Proposal {
        proofs: winner.iter().cloned().collect(),
        transactions: candidates.iter().map(|(_, checked)| Arc::clone(checked)).collect(),
        time: Millis(time),
        epoch,
    };
    let Tip { time: Millis(parent), epoch: before, .. } = *state.tip();
    if parent == u64::MAX {
        return; // No block has a time after the last one there is.
    }
    let missed = winner.as_ref().is_some_and(|entry| {
        let [target, ..] = state.round().targets;
        !target.is_met_by(Quality(quality(state, entry)))
    });
    let follows = epoch_follows(before, epoch);
    let Ok((block, left_out)) = state.draft(proposal, &METRONOME) else {
        assert!(!follows || missed, "nothing else is wrong with the proposal");
        return;
    };
    assert!(!missed, "the proof is not good enough");
    assert!(follows && block.header().time > state.tip().time);
    follow(state, model, &candidates, winner.as_ref(), (&block, &left_out));
    if signed {
        recheck(script, state, &block);
    }
    state.apply(&block).expect("it was drafted on this state");
    assert!(state.apply(&block).is_err(), "no block fits twice");
}

type Candidate = (Transaction, Arc<CheckedTransaction>);

/// A transaction of somebody, if it keeps the rules that need no ledger.
fn candidate(
    script: &mut Script<'_>,
    signed: bool,
    model: &Model,
    ahead: &mut BTreeMap<Address, u64>,
) -> Option<Candidate> {
    let key = script.pick(&*KEYS);
    // Whose account is charged need not be who signed if nobody looks at the signature.
    let sender = if signed { address(key) } else { party(script) };
    let (balance, sequence) = model.account(&sender);
    let next = ahead.entry(sender).or_insert(sequence);
    let sequence = script.around(*next);
    *next = next.wrapping_add(u64::from(sequence == *next));
    let payments = (0..=script.below(3))
        .map(|_| Payment { to: party(script), amount: units(script, balance) })
        .collect();
    let draft = Draft {
        sequence,
        expires: Height(script.around(model.height)),
        fee: units(script, balance),
        payments: Payments::new(payments).expect("one to three"),
        memo: List::new(vec![0; 60 * script.below(3)]).expect("a short memo"),
    };
    let transaction = sign(draft, key, signed);
    let fault = fault(&transaction);
    let checked = transaction.check(&CHAIN.hash());
    match (fault, signed) {
        (Some(fault), _) => assert_eq!(checked.map(drop), Err(fault)),
        (None, true) => return Some((transaction, Arc::new(checked.expect("it is signed")))),
        (None, false) => {
            assert!(matches!(checked, Err(TransactionError::Signature(_))));
            let encoded = Encoded::from(&transaction);
            let checked = CheckedTransaction::assume(encoded, sender, &CHAIN.hash());
            return Some((transaction, Arc::new(checked)));
        }
    }
    None
}

/// One of a few addresses, most of which no key has.
fn party(script: &mut Script<'_>) -> Address {
    match script.below(8) {
        index @ 0..5 => address(KEYS[index]),
        index => Address([index as u8; 32]),
    }
}

/// An amount; often about as much as there is.
fn units(script: &mut Script<'_>, balance: u128) -> Amount {
    let balance = u64::try_from(balance).unwrap_or(u64::MAX);
    Amount::from_units(match script.byte() % 4 {
        0 => script.around(balance),
        1 => balance / 2,
        _ => script.number(),
    })
}

fn sign(draft: Draft, key: &SecretKey, signed: bool) -> Transaction {
    if signed {
        return draft.sign(&CHAIN.hash(), key);
    }
    let Draft { sequence, expires, fee, payments, memo } = draft;
    let signature = dsc_lib::keys::Signature([0; 256]);
    let sender = *key.public();
    Transaction { version: 1, sender, sequence, expires, fee, payments, memo, signature }
}

/// What is wrong with a transaction of version 1 whatever the ledger.
fn fault(transaction: &Transaction) -> Option<TransactionError> {
    let empty = transaction.payments.iter().position(|payment| payment.amount.units() == 0);
    let overflow = (spent(transaction) > u64::MAX.into()).then_some(TransactionError::Overflow);
    empty.map(|index| TransactionError::EmptyPayment { index }).or(overflow)
}

/// A proof of work, which any nonce is at the easiest target.
fn work(script: &mut Script<'_>) -> ProofEntry {
    let miner = Miner { address: party(script), fingerprint: Fingerprint([script.byte(); 16]) };
    let proof = Proof { kind: ProofKind::new(0), bytes: script.number().to_le_bytes().to_vec() };
    ProofEntry { miner, proof }
}

/// Does to the model what the draft did, and compares what was left out.
fn follow(
    state: &State,
    model: &mut Model,
    candidates: &[Candidate],
    winner: Option<&ProofEntry>,
    (block, left_out): (&CheckedBlock, &[LeftOut]),
) {
    let mut room = CHAIN.genesis().limits.block_bytes - 550 - winner.map_or(0, |_| 57);
    let (mut taken, mut refused, mut fees) = (Vec::new(), Vec::new(), 0);
    for (transaction, checked) in candidates {
        let len = checked.bytes().len() as u64;
        if len > room || taken.len() == BLOCK_TRANSACTIONS as usize {
            break;
        }
        match model.apply(checked.sender(), transaction) {
            Ok(()) => {
                room -= len;
                fees += u128::from(transaction.fee.units());
                taken.push(checked.id());
            }
            Err(error) => refused.push((checked.id(), error)),
        }
    }
    assert_eq!(block.transactions().iter().map(|t| t.id()).collect::<Vec<_>>(), taken);
    assert_eq!(left_out, refused);
    let quality = winner.map(|entry| quality(state, entry));
    model.settle(winner.map(|entry| entry.miner.address), fees, quality);
}

fn quality(state: &State, entry: &ProofEntry) -> u64 {
    let engine = CHAIN.engine(entry.proof.kind).expect("a known kind");
    let challenge = dsc_lib::proof::Challenge(state.round().challenge);
    engine.verify(&challenge, &entry.miner, &entry.proof).expect("any nonce").0
}

/// The block as it travels passes the check with the same outcome; with a field of its header
/// changed and signed again it does not, except for a later time or a higher lease.
fn recheck(script: &mut Script<'_>, state: &State, drafted: &CheckedBlock) {
    let again = state.check(unchecked(drafted)).expect("it was drafted on this state");
    assert_eq!(again.changes(), drafted.changes());
    assert_eq!(
        (again.supply(), again.next(), again.hash()),
        (drafted.supply(), drafted.next(), drafted.hash())
    );
    let mut block = unchecked(drafted);
    let original = block.header.clone();
    let allowed = bend(script, state, &mut block.header);
    block.header = block.header.sign(&METRONOME);
    let same = block.header == original;
    let found = state.check(block);
    assert_eq!(found.is_ok(), allowed || same, "{:?}", found.err());
    flip(script, state, drafted);
}

/// Changes a field; says whether that is allowed.
fn bend(script: &mut Script<'_>, state: &State, header: &mut Header) -> bool {
    let field = script.byte() % 11;
    match field {
        0 => header.version = header.version.wrapping_add(u16::from(script.byte())),
        1 => header.chain.0[0] ^= script.byte(),
        2 => header.height = Height(script.around(header.height.0)),
        3 => header.epoch = script.around(header.epoch),
        4 => header.parent.0[31] ^= script.byte(),
        5 => header.time = Millis(script.around(state.tip().time.0)),
        6 => header.challenge.0[0] ^= script.byte(),
        7 => *target(script, header) = Target(script.number()),
        8 => header.transactions = header.transactions.wrapping_add(script.byte().into()),
        9 => header.transactions_root = Digest([script.byte(); 32]),
        _ => header.state.0[0] ^= script.byte(),
    }
    let later = field == 5 && header.time > state.tip().time;
    later || field == 3 && epoch_follows(state.tip().epoch, header.epoch)
}

/// Rule B21, in numbers that cannot overflow.
fn epoch_follows(before: u64, epoch: u64) -> bool {
    epoch >= before && u128::from(epoch) <= u128::from(before) + (1 << 32)
}

fn target<'h>(script: &mut Script<'_>, header: &'h mut Header) -> &'h mut Target {
    let index = script.below(header.targets.len());
    &mut header.targets[index]
}

/// No other byte passes under the signature.
fn flip(script: &mut Script<'_>, state: &State, drafted: &CheckedBlock) {
    let mut bytes = drafted.to_bytes();
    let at = script.place(bytes.len());
    let mask = script.byte();
    bytes[at] ^= mask;
    if let Ok(block) = decode::<Block>(&bytes) {
        assert_eq!(state.check(block).is_ok(), mask == 0, "byte {at}");
    }
}
