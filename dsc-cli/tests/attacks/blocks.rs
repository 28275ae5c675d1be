//! Blocks: of a metronome nobody authorised, wrong in every field, and two of one height.

use std::thread;

use dsc_cli::http::ClientError;
use dsc_lib::{
    block::{Block, Header, Proofs, proofs_root},
    codec::{self, List},
    hash::Digest,
    keys::{SecretKey, Signature},
    ledger::{Proposal, State},
    merkle,
    proof::ProofEntry,
    role::blockchain::{Accepted, Equivocation},
    testing::{BOB, CAROL, Miners, STRANGER, address, checked},
    transaction::{Encoded, Transaction},
    units::{Height, Millis, Target},
};

use crate::{
    attack::{attack, attack_with_much},
    honest::FEE,
    network::{self, ACCOUNTS, Network, await_that, client},
    raw::{exchange, request},
};

/// Makes the metronome stop while somebody else makes blocks, and go on afterwards.
struct Frozen<'a>(&'a Network);

impl<'a> Frozen<'a> {
    fn new(network: &'a Network) -> Self {
        network.turn("/v1/stop");
        // One that is under way is finished, of which nobody is told: an interval without a block
        // says so.
        await_that("the last block", || {
            let height = network.height();
            thread::sleep(std::time::Duration::from_millis(300));
            (network.height() == height).then_some(())
        });
        Self(network)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.turn("/v1/start");
    }
}

/// A block that the ledger would take, signed by the second metronome, which is ours.
fn good(state: &State, proofs: Vec<ProofEntry>, transactions: &[Transaction], later: u64) -> Block {
    let time = Millis(state.tip().time.0 + later);
    let transactions = transactions.iter().map(|t| checked(state, t.clone())).collect();
    let proposal = Proposal { proofs, transactions, time, epoch: state.tip().epoch };
    let (block, left_out) = state.draft(proposal, &CAROL).unwrap();
    assert_eq!(left_out, []);
    codec::decode(&block.to_bytes()).unwrap()
}

/// What the blockchain server makes of a block: its code if it refuses.
fn submit(network: &Network, bytes: &[u8]) -> String {
    let sent = client(&network.blockchain).submit_bytes::<Accepted>("/v1/blocks", bytes);
    match sent {
        Ok(_) => "accepted".into(),
        Err(ClientError::Problem(problem)) => problem.code,
        Err(error) => panic!("{error}"),
    }
}

/// The block with a header that says `change`, signed again.
fn with(block: &Block, key: &SecretKey, change: impl FnOnce(&mut Header)) -> Block {
    let mut header = block.header.clone();
    change(&mut header);
    Block { header: header.sign(key), ..block.clone() }
}

fn with_proofs(block: &Block, proofs: &[&ProofEntry]) -> Block {
    let proofs: Vec<_> = proofs.iter().map(|entry| (*entry).clone()).collect();
    let root = proofs_root(&proofs);
    let changed = Block { proofs: Proofs::new(proofs).unwrap(), ..block.clone() };
    with(&changed, &CAROL, |header| header.proofs_root = root)
}

fn with_transactions(block: &Block, transactions: Vec<Encoded>) -> Block {
    let leaves: Vec<_> = transactions.iter().map(|t| merkle::leaf(t.bytes())).collect();
    let (root, count) = (merkle::root(&leaves), u32::try_from(leaves.len()).unwrap());
    let changed = Block { transactions: List::new(transactions).unwrap(), ..block.clone() };
    with(&changed, &CAROL, |header| {
        (header.transactions_root, header.transactions) = (root, count);
    })
}

#[test]
fn a_block_of_a_metronome_nobody_authorised_is_refused() {
    attack("blocks of a metronome nobody authorised", |network| {
        let state = network.state();
        let block = good(&state, vec![], &[], 1);
        let strange = with(&block, &STRANGER, |_| {});
        assert_eq!(submit(network, &codec::encode(&strange)), "unknown-metronome");
        let mut forged = block.clone();
        forged.header.signature = strange.header.signature;
        assert_eq!(submit(network, &codec::encode(&forged)), "bad-block-signature");
        forged.header.signature = Signature([0; 256]);
        assert_eq!(submit(network, &codec::encode(&forged)), "bad-block-signature");
        let nobody = with(&block, &STRANGER, |header| header.height = Height(u64::MAX));
        assert_ne!(submit(network, &codec::encode(&nobody)), "accepted");
    });
}

#[test]
fn a_block_wrong_in_any_field_is_refused() {
    let chain = network::shared().as_ref().unwrap().chain.clone();
    let mut miners = Miners::new(&chain);
    attack("blocks wrong in one field each, signed by an authorised metronome", |network| {
        let frozen = Frozen::new(network);
        let state = network.state();
        let key = &ACCOUNTS[5];
        let sequence = state.account(&address(key)).sequence;
        let (_, payment) = network.payer(key)(sequence, address(key), 1, FEE);
        let proofs = miners.mine(&state);
        let block = good(&state, proofs.clone(), std::slice::from_ref(&payment), 1);
        let is_refused = |code: &str, block: &Block| {
            assert_eq!(submit(network, &codec::encode(block)), code);
        };
        let says = |code: &str, change: &dyn Fn(&mut Header)| {
            is_refused(code, &with(&block, &CAROL, change));
        };
        says("block-version", &|header| header.version = 2);
        says("wrong-chain", &|header| header.chain = Digest::ZERO);
        says("wrong-height", &|header| header.height = Height(header.height.0 + 1));
        says("wrong-height", &|header| header.height = Height(u64::MAX));
        says("wrong-parent", &|header| header.parent = Digest::ZERO);
        says("wrong-time", &|header| header.time = state.tip().time);
        says("block-ahead", &|header| header.time = Millis(u64::MAX));
        says("epoch-ahead", &|header| header.epoch = u64::MAX);
        says("wrong-challenge", &|header| header.challenge = Digest::ZERO);
        says("wrong-targets", &|header| header.targets[0] = Target(1));
        says("wrong-transaction-count", &|header| header.transactions += 1);
        says("wrong-transaction-count", &|header| header.transactions = u32::MAX);
        says("wrong-transactions-root", &|header| header.transactions_root = Digest::ZERO);
        says("wrong-proofs-root", &|header| header.proofs_root = Digest::ZERO);
        says("wrong-state", &|header| header.state = Digest::ZERO);
        if let [first, .., last] = &proofs[..] {
            is_refused("proof-order", &with_proofs(&block, &[first, first]));
            is_refused("proof-order", &with_proofs(&block, &[last, first]));
            let mut stolen = last.clone();
            stolen.miner.address = address(&BOB);
            is_refused("bad-proof", &with_proofs(&block, &[&stolen]));
        }
        let again = Encoded::from(&payment);
        let twice = with_transactions(&block, vec![again.clone(), again]);
        is_refused("bad-transaction", &twice);
        let bytes = codec::encode(&block);
        for len in [0, 1, 533, 534, bytes.len() - 1] {
            assert_eq!(submit(network, &bytes[..len]), "not-canonical", "{len} bytes");
        }
        assert_eq!(submit(network, &[&bytes[..], &[0]].concat()), "not-canonical");
        assert_eq!(submit(network, &bytes), "accepted");
        assert_eq!(submit(network, &bytes), "accepted", "the same again is known");
        drop(frozen);
        let next = block.header.height.0 + 2;
        await_that("blocks after it", || (network.height().0 >= next).then_some(()));
    });
}

/// Blocks as large as they come, signed by nobody and by somebody else.
#[test]
fn large_blocks_that_nobody_authorised_cost_little() {
    attack_with_much("16 blocks of 15 MiB that nobody authorised", |network| {
        let block = with(&good(&network.state(), vec![], &[], 1), &STRANGER, |_| {});
        let mut bytes = codec::encode(&block);
        bytes.resize(15 << 20, 1);
        let request = request("POST /v1/blocks HTTP/1.1", &bytes);
        let send = || {
            let statuses = exchange(&network.blockchain, &request).statuses();
            assert!(matches!(statuses[..], [] | [408 | 422 | 503]), "{statuses:?}");
        };
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(send);
            }
        });
    });
}

#[test]
fn two_blocks_of_one_height_by_one_metronome_are_reported() {
    attack("equivocation by an authorised metronome", |network| {
        let frozen = Frozen::new(network);
        let state = network.state();
        let [first, second, third] = [1, 2, 3].map(|later| good(&state, vec![], &[], later));
        assert_eq!(submit(network, &codec::encode(&first)), "accepted");
        for other in [&second, &third, &second] {
            assert_eq!(submit(network, &codec::encode(other)), "equivocation");
        }
        let evidence = || -> Vec<Equivocation> {
            client(&network.blockchain).get_json("/v1/equivocations").unwrap()
        };
        let height = first.header.height;
        let found: Vec<_> =
            evidence().into_iter().filter(|found| found.first.height == height).collect();
        assert_eq!(found.len(), 1, "one for each height and key");
        assert_eq!(found[0].verify(&network.chain), Ok(()));
        let headers = (&found[0].first, &found[0].second);
        assert_eq!(headers, (&first.header, &second.header));
        // The first is on the ledger, and the others go on from it.
        drop(frozen);
        await_that("a block after it", || (network.height() > height).then_some(()));
        let path = format!("/v1/blocks/{height}/raw");
        let kept = client(&network.blockchain).get_bytes(&path).unwrap();
        assert_eq!(kept, codec::encode(&first));
    });
}
