//! What must hold whatever the input: the codec is exact, and no block makes or loses coins.

use std::{cell::RefCell, fmt::Debug};

use bincode::{Decode, Encode};
use dsc_lib::{
    address::Address,
    block::{Block, Header, Proofs},
    codec::{List, decode, encode},
    commitment::{Account, Commitment},
    genesis::{Endowment, Genesis},
    hash::Digest,
    keys::{PublicKey, SecretKey, Signature},
    ledger::{CheckedBlock, Ledger, Snapshot, SnapshotAccount, SnapshotTip, State},
    merkle::InclusionProof,
    proof::{ENGINES, Fingerprint, Miner, Proof, ProofEntry, ProofKind},
    testing::{
        self, ALICE, BOB, CAROL, MINER, Miners, address, chain, genesis, proposal, unchecked,
    },
    transaction::{Draft, Encoded, Memo, Payment, Payments, Transaction},
    units::{Amount, Height, Millis, Target},
};
use proptest::{array::uniform32, collection::vec, option, prelude::*, test_runner::TestRunner};

/// `decode(encode(x)) == x`.
fn assert_round_trip<T: Encode + Decode<()> + PartialEq + Debug>(value: &T) {
    assert_eq!(decode::<T>(&encode(value)).as_ref(), Ok(value));
}

/// `encode(decode(b)) == b` for what is accepted of `value`'s bytes after some change.
fn assert_exact<T: Encode + Decode<()> + Debug>(value: &T, change: &Change) {
    let bytes = change.apply(encode(value));
    if let Ok(value) = decode::<T>(&bytes) {
        assert_eq!(encode(&value), bytes);
    }
}

/// Something done to encoded bytes.
#[derive(Clone, Debug)]
enum Change {
    Set { place: prop::sample::Index, byte: u8 },
    Word { place: prop::sample::Index, word: u64 },
    Cut(prop::sample::Index),
    Extend(Vec<u8>),
    Remove { place: prop::sample::Index, count: usize },
}

impl Change {
    fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Set { place, byte } => *place.get_mut(&mut bytes) = *byte,
            Self::Word { place, word } => {
                let start = place.index(bytes.len());
                let word = word.to_le_bytes();
                bytes.iter_mut().skip(start).zip(word).for_each(|(byte, new)| *byte = new);
            }
            Self::Cut(place) => bytes.truncate(place.index(bytes.len())),
            Self::Extend(more) => bytes.extend(more),
            Self::Remove { place, count } => {
                let start = place.index(bytes.len());
                bytes.drain(start..bytes.len().min(start + count));
            }
        }
        bytes
    }
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(place, byte)| Change::Set { place, byte }),
        (place(), prop_oneof![0..600_u64, any::<u64>()])
            .prop_map(|(place, word)| Change::Word { place, word }),
        place().prop_map(Change::Cut),
        vec(any::<u8>(), 1..40).prop_map(Change::Extend),
        (place(), 1..80_usize).prop_map(|(place, count)| Change::Remove { place, count }),
    ]
}

prop_compose! {
    fn digest()(bytes in uniform32(any::<u8>())) -> Digest {
        Digest(bytes)
    }
}

prop_compose! {
    fn any_address()(bytes in uniform32(any::<u8>())) -> Address {
        Address(bytes)
    }
}

prop_compose! {
    fn signature()(bytes in vec(any::<u8>(), 256)) -> Signature {
        Signature(bytes.try_into().unwrap())
    }
}

prop_compose! {
    fn public_key()(mut bytes in vec(any::<u8>(), 256)) -> PublicKey {
        bytes[0] |= 0x80;
        bytes[255] |= 1;
        PublicKey::from_modulus(&bytes).unwrap()
    }
}

prop_compose! {
    fn payment()(to in any_address(), units: u64) -> Payment {
        Payment { to, amount: Amount::from_units(units) }
    }
}

prop_compose! {
    fn transaction()(
        (version, sequence, expires, fee) in any::<(u16, u64, u64, u64)>(),
        sender in public_key(),
        payments in vec(payment(), 1..6),
        memo in vec(any::<u8>(), 0..60),
        signature in signature(),
    ) -> Transaction {
        Transaction {
            version,
            sender,
            sequence,
            expires: Height(expires),
            fee: Amount::from_units(fee),
            payments: Payments::new(payments).unwrap(),
            memo: Memo::new(memo).unwrap(),
            signature,
        }
    }
}

prop_compose! {
    fn miner()(address in any_address(), fingerprint: [u8; 16]) -> Miner {
        Miner { address, fingerprint: Fingerprint(fingerprint) }
    }
}

/// Bytes in the shape that the engine of `kind` declares.
fn proof(kind: ProofKind) -> impl Strategy<Value = Proof> {
    let shape = kind.entry().unwrap().shape;
    let items = vec(vec(any::<u8>(), shape.item_len), 0..=shape.items_max.min(5));
    (vec(any::<u8>(), shape.fixed_len), items).prop_map(move |(mut bytes, items)| {
        if shape.item_len > 0 {
            bytes.extend((items.len() as u64).to_le_bytes());
            bytes.extend(items.concat());
        }
        Proof { kind, bytes }
    })
}

fn proof_entry() -> impl Strategy<Value = ProofEntry> {
    (0..ENGINES.len()).prop_flat_map(|index| {
        let kind = ProofKind::from_index(index).unwrap();
        (miner(), proof(kind)).prop_map(|(miner, proof)| ProofEntry { miner, proof })
    })
}

prop_compose! {
    fn header()(
        (chain, parent, challenge) in (digest(), digest(), digest()),
        (transactions_root, proofs_root, state) in (digest(), digest(), digest()),
        (version, height, epoch, time, transactions) in any::<(u16, u64, u64, u64, u32)>(),
        targets: [u64; 3],
        metronome in any_address(),
        signature in signature(),
    ) -> Header {
        Header {
            version,
            chain,
            height: Height(height),
            epoch,
            parent,
            time: Millis(time),
            challenge,
            targets: targets.map(Target),
            transactions,
            transactions_root,
            proofs_root,
            state,
            metronome,
            signature,
        }
    }
}

fn proofs() -> impl Strategy<Value = Proofs> {
    vec(proof_entry(), 0..=ENGINES.len()).prop_map(|entries| Proofs::new(entries).unwrap())
}

prop_compose! {
    fn block()(
        header in header(),
        proofs in proofs(),
        transactions in vec(transaction(), 0..3),
    ) -> Block {
        let transactions = transactions.iter().map(Encoded::from).collect();
        let transactions = List::new(transactions).unwrap();
        Block { header, proofs, transactions }
    }
}

prop_compose! {
    fn any_genesis()(
        development: bool,
        (time, interval, reward, halving) in any::<(u64, u64, u64, u64)>(),
        name in "[a-z0-9-]{1,32}",
        accounts in vec((any_address(), any::<u64>()), 0..5),
    ) -> Genesis {
        let endow = |(address, units)| Endowment { address, balance: Amount::from_units(units) };
        let accounts = accounts.into_iter().map(endow).collect();
        Genesis {
            network: List::new(name.into_bytes()).unwrap(),
            development,
            time: Millis(time),
            interval: Millis(interval),
            reward: Amount::from_units(reward),
            halving,
            accounts: List::new(accounts).unwrap(),
            ..genesis()
        }
    }
}

prop_compose! {
    fn snapshot()(
        tip in option::of((header(), proofs())),
        accounts in vec((any_address(), any::<(u64, u64)>()), 0..5),
    ) -> Snapshot {
        let account = |(address, (units, sequence))| {
            let account = Account { balance: Amount::from_units(units), sequence };
            SnapshotAccount { address, account }
        };
        Snapshot {
            tip: tip.map(|(header, proofs)| SnapshotTip { header, proofs }),
            accounts: List::new(accounts.into_iter().map(account).collect()).unwrap(),
        }
    }
}

prop_compose! {
    fn inclusion()(index: u64, count: u64, path in vec(digest(), 0..=64)) -> InclusionProof {
        InclusionProof { index, count, path: List::new(path).unwrap() }
    }
}

macro_rules! exact_codec {
    ($($name:ident: $type:ty = $strategy:expr;)*) => {
        proptest! {
            $(
                #[test]
                fn $name(value in $strategy, change in change()) {
                    let value: $type = value;
                    assert_round_trip(&value);
                    assert_exact(&value, &change);
                }
            )*
        }
    };
}

exact_codec! {
    transactions_are_encoded_exactly: Transaction = transaction();
    blocks_are_encoded_exactly: Block = block();
    genesis_is_encoded_exactly: Genesis = any_genesis();
    proof_entries_are_encoded_exactly: ProofEntry = proof_entry();
    snapshots_are_encoded_exactly: Snapshot = snapshot();
    inclusion_proofs_are_encoded_exactly: InclusionProof = inclusion();
}

/// A transaction someone might send: mostly sensible, sometimes out of sequence, too large or
/// too late.
#[derive(Clone, Debug)]
struct Wish {
    from: usize,
    to: usize,
    units: u64,
    fee: u64,
    skip: u64,
    expires: u64,
}

fn wish() -> impl Strategy<Value = Wish> {
    let units = prop_oneof![4 => 1..1_000_000_000_000_u64, 1 => 1..u64::MAX];
    let skip = prop_oneof![9 => Just(0_u64), 1 => 1..3_u64];
    (0..4_usize, 0..5_usize, units, 0..1_000_000_000_u64, skip, 0..9_u64).prop_map(
        |(from, to, units, fee, skip, expires)| Wish { from, to, units, fee, skip, expires },
    )
}

/// What happens in one round: who proves, and what is sent.
fn rounds() -> impl Strategy<Value = Vec<(bool, Vec<Wish>)>> {
    vec((any::<bool>(), vec(wish(), 0..5)), 1..5)
}

fn people() -> [&'static SecretKey; 4] {
    [&ALICE, &BOB, &CAROL, &MINER]
}

impl Wish {
    /// Signs it with the sequence the sender would have after `sent` more transactions.
    fn sign(&self, state: &State, sent: &mut [u64; 4]) -> Transaction {
        let key = people()[self.from];
        let to = people().get(self.to).map_or(Address([9; 32]), |key| address(key));
        let (amount, fee) = (Amount::from_units(self.units), Amount::from_units(self.fee));
        let sequence = state.account(&address(key)).sequence + sent[self.from] + self.skip;
        sent[self.from] += 1;
        let draft = testing::draft(sequence, to, amount, fee);
        Draft { expires: Height(self.expires), ..draft }.sign(&state.chain().hash(), key)
    }
}

/// The supply by its definition: coins before, plus the reward if there is a winner, else less
/// the fees.
fn supply_after(state: &State, block: &CheckedBlock) -> Amount {
    let before = state.supply();
    let fees = block.transactions().iter().map(|t| t.fee());
    let fees = Amount::checked_sum(fees).unwrap();
    match block.winner() {
        Some(_) => before.checked_add(state.chain().reward(block.header().height)).unwrap(),
        None => before.checked_sub(fees).unwrap(),
    }
}

/// Transactions that came into a block, and those left out.
#[derive(Debug, Default)]
struct Tally {
    taken: usize,
    left_out: usize,
}

/// Drafts and commits one block of whatever is valid among the wishes.
fn play(ledger: &mut Ledger, miners: &mut Miners, proving: bool, wishes: &[Wish]) -> Tally {
    let state = ledger.state();
    let mut sent = [0; 4];
    let candidates: Vec<_> = wishes.iter().map(|wish| wish.sign(state, &mut sent)).collect();
    let candidates: Vec<_> =
        candidates.into_iter().filter(|t| t.check(&state.chain().hash()).is_ok()).collect();
    let count = candidates.len();
    let proofs = if proving { miners.mine(state) } else { vec![] };
    let (block, left_out) =
        state.draft(proposal(state, proofs, candidates), &testing::METRONOME).unwrap();
    let tally = Tally { taken: block.transactions().len(), left_out: left_out.len() };
    assert_eq!(tally.taken + tally.left_out, count);
    let supply = supply_after(state, &block);
    let checked = ledger.check(unchecked(&block)).unwrap();
    ledger.commit(&checked).unwrap();
    assert_eq!(ledger.state().supply(), supply);
    tally
}

fn assert_sound(state: &State) {
    assert!(state.supply_holds());
    let sum: Commitment = state.accounts().iter().collect();
    assert_eq!(sum.digest(), state.commitment());
    assert!(state.accounts().values().all(|account| !account.is_empty()));
}

/// Blocks of any transactions conserve the supply, commit to their state, and replay.
#[test]
fn blocks_conserve_the_supply() {
    // Plotting takes longer than a case, so all cases share the miners.
    let miners = RefCell::new(Miners::new(&chain()));
    let total = RefCell::new(Tally::default());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(32));
    let played = runner.run(&rounds(), |rounds| {
        let mut ledger = Ledger::in_memory(chain());
        for (proving, wishes) in &rounds {
            let tally = play(&mut ledger, &mut miners.borrow_mut(), *proving, wishes);
            total.borrow_mut().taken += tally.taken;
            total.borrow_mut().left_out += tally.left_out;
            assert_sound(ledger.state());
        }
        assert_same(&ledger);
        Ok(())
    });
    played.unwrap();
    let Tally { taken, left_out } = total.into_inner();
    assert!(taken > 20 && left_out > 20, "{taken} taken and {left_out} left out show little");
}

/// Replay and snapshot come to the same as the ledger itself.
fn assert_same(ledger: &Ledger) {
    let summary = ledger.verify(|_, _| {}).unwrap();
    assert_eq!(summary.supply, ledger.state().supply());
    let snapshot = decode(&encode(&ledger.snapshot().unwrap())).unwrap();
    let state = State::from_snapshot(chain(), snapshot).unwrap();
    assert_eq!(state.round(), ledger.state().round());
    assert_eq!(state.commitment(), ledger.state().commitment());
}
