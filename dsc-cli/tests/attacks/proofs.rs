//! Proofs: doubled, stolen, of other rounds and engines, oversized; and hand-ins without number.

use std::thread;

use dsc_cli::http::ClientError;
use dsc_lib::{
    block::Block,
    codec,
    proof::{
        Challenge, Fingerprint, Footprint, Miner, Proof, ProofEntry, ProofKind, verify_target,
    },
    role::{
        HandIn,
        metronome::{OpenRound, Status},
    },
    testing::{BOB, Miners, address},
    units::{Height, Millis},
};
use serde_json::{Value, json};

use crate::{
    attack::attack,
    network::{self, Network, await_that, client},
};

/// Validators that a metronome remembers at most.
const VALIDATORS_MAX: usize = 1000;

/// A report with a proof entry, as a validator sends it.
fn body(height: Height, entry: &ProofEntry) -> Value {
    body_of(height, entry.miner, entry, &codec::encode(entry))
}

/// A report of `miner` with these bytes for a proof entry.
fn body_of(height: Height, miner: Miner, entry: &ProofEntry, bytes: &[u8]) -> Value {
    let report = HandIn {
        height,
        miner,
        kind: entry.proof.kind,
        attempts: 1,
        spent: Millis(1),
        footprint: Footprint::default(),
        proof: None,
    };
    let mut body = serde_json::to_value(report).unwrap();
    body["entry"] = json!(hex::encode(bytes));
    body
}

/// The receipt for a report, or the code it was refused with.
fn hand_in(network: &Network, body: &Value) -> String {
    match client(&network.metronome).post_json::<_, Value>("/v1/proofs", body) {
        Ok(answer) => answer["receipt"].as_str().unwrap().to_owned(),
        Err(ClientError::Problem(problem)) => problem.code,
        Err(error) => panic!("{error}"),
    }
}

/// A round that stays open, with the proofs of our miners for it.
fn solved(network: &Network, miners: &mut Miners) -> (OpenRound, Vec<ProofEntry>) {
    await_that("a round with time to prove", || {
        let round = network.round();
        let entries = miners.solve(round.challenge, &round.targets);
        let is_open = network.round().challenge == round.challenge;
        (is_open && !entries.is_empty()).then_some((round, entries))
    })
}

#[test]
fn a_proof_handed_in_again_counts_once() {
    let chain = network::shared().as_ref().unwrap().chain.clone();
    let mut miners = Miners::new(&chain);
    attack("proofs handed in twice, and from 64 clients at once", |network| {
        let (round, entries) = solved(network, &mut miners);
        let bodies: Vec<_> = entries.iter().map(|entry| body(round.height, entry)).collect();
        let receipts = raced(network, &bodies, 64);
        let is_taken = |r: &String| matches!(&**r, "best" | "outbid" | "round-closed");
        assert!(receipts.iter().all(is_taken), "{receipts:?}");
        await_that("its block", || (network.height() >= round.height).then_some(()));
        let path = format!("/v1/blocks/{}/raw", round.height);
        let bytes = client(&network.blockchain).get_bytes(&path).unwrap();
        let block: Block = codec::decode(&bytes).unwrap();
        for entry in &entries {
            let count = block.proofs.iter().filter(|held| *held == entry).count();
            assert!(count <= 1, "{count} times in one block");
        }
        for body in &bodies {
            assert_eq!(hand_in(network, body), "round-closed");
        }
        // Nor do they answer what another round asks.
        let next = network.round();
        for entry in entries.iter().filter(|entry| !is_good(network, &next, entry)) {
            let receipt = hand_in(network, &body(next.height, entry));
            assert!(is_refused(&receipt), "{receipt}");
        }
    });
}

/// Whether a proof is one in this round all the same: targets are easy here, and whoever finds one by
/// luck mines.
fn is_good(network: &Network, round: &OpenRound, entry: &ProofEntry) -> bool {
    let kind = entry.proof.kind;
    let (engine, target) =
        (network.chain.engine(kind).unwrap(), round.targets[usize::from(kind.index())]);
    let challenge = Challenge(round.challenge);
    verify_target(engine, &challenge, &entry.miner, &entry.proof, target).is_ok()
}

/// Whether a proof was refused for what it is.
fn is_refused(code: &str) -> bool {
    matches!(code, "bad-proof" | "target-missed" | "round-closed")
}

/// Sends all reports from each of so many clients.
fn raced(network: &Network, bodies: &[Value], clients: usize) -> Vec<String> {
    let send = || bodies.iter().map(|body| hand_in(network, body)).collect::<Vec<_>>();
    thread::scope(|scope| {
        let sending: Vec<_> = (0..clients).map(|_| scope.spawn(send)).collect();
        sending.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn a_proof_pays_nobody_but_its_miner() {
    let chain = network::shared().as_ref().unwrap().chain.clone();
    let mut miners = Miners::new(&chain);
    attack("proofs stolen from another miner", |network| {
        let (round, entries) = solved(network, &mut miners);
        for entry in &entries {
            let same_name = Miner { address: address(&BOB), ..entry.miner };
            let other_name = Miner { fingerprint: Fingerprint([9; 16]), ..entry.miner };
            for thief in [same_name, other_name] {
                let bytes = codec::encode(entry);
                let receipt = hand_in(network, &body_of(round.height, thief, entry, &bytes));
                assert_eq!(receipt, "wrong-miner", "the miner of the entry counts");
                let stolen = ProofEntry { miner: thief, ..entry.clone() };
                if !is_good(network, &round, &stolen) {
                    let receipt = hand_in(network, &body(round.height, &stolen));
                    assert!(is_refused(&receipt), "{receipt} for {}", entry.proof.kind);
                }
            }
        }
        let next = network.height().0 + 3;
        await_that("blocks", || (network.height().0 >= next).then_some(()));
        let thief = Fingerprint([9; 16]);
        let wins = network.info().wins;
        assert!(
            wins.by_miner()
                .keys()
                .all(|(_, m)| { m.fingerprint != thief && m.address != address(&BOB) })
        );
    });
}

#[test]
fn proofs_of_other_rounds_engines_and_sizes_are_refused() {
    let chain = network::shared().as_ref().unwrap().chain.clone();
    let mut miners = Miners::new(&chain);
    attack("proofs of other rounds, engines and sizes", |network| {
        let (round, entries) = solved(network, &mut miners);
        for entry in &entries {
            let send =
                |bytes: &[u8]| hand_in(network, &body_of(round.height, entry.miner, entry, bytes));
            for height in [0, round.height.0.saturating_sub(1), round.height.0 + 5, u64::MAX] {
                assert_eq!(hand_in(network, &body(Height(height), entry)), "round-closed");
            }
            let bytes = codec::encode(entry);
            let longer = [&bytes[..], &[0]].concat();
            for bytes in [&bytes[..bytes.len() - 1], &longer, &[], &vec![0xff; 300_000]] {
                assert_eq!(send(bytes), "not-canonical");
            }
            for place in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[place] ^= 0x40;
                let receipt = send(&changed);
                let is_named = matches!(&*receipt, "not-canonical" | "wrong-miner" | "wrong-kind");
                let decoded = codec::decode::<ProofEntry>(&changed);
                let is_lucky = matches!(&*receipt, "best" | "outbid")
                    && decoded.is_ok_and(|entry| is_good(network, &round, &entry));
                assert!(is_named || is_lucky || is_refused(&receipt), "byte {place}: {receipt}");
            }
            for other in entries.iter().filter(|other| other.proof.kind != entry.proof.kind) {
                let mut body = body(round.height, entry);
                body["kind"] = json!(other.proof.kind);
                let receipt = hand_in(network, &body);
                assert!(matches!(&*receipt, "wrong-kind" | "round-closed"), "{receipt}");
            }
        }
        let mut odd = body(round.height, &entries[0]);
        odd["entry"] = json!("0");
        assert_eq!(hand_in(network, &odd), "not-canonical");
        odd["entry"] = json!("zz");
        assert_eq!(hand_in(network, &odd), "not-canonical");
    });
}

#[test]
fn validators_without_number_are_forgotten_again() {
    attack("3,000 validators that do not exist", |network| {
        let height = network.round().height;
        let report = |number: u32| {
            let mut fingerprint = [0; 16];
            fingerprint[..4].copy_from_slice(&number.to_le_bytes());
            let miner = Miner { address: address(&BOB), fingerprint: Fingerprint(fingerprint) };
            let kind = ProofKind::from_index(0).unwrap();
            let (attempts, spent) = (u64::MAX, Millis(u64::MAX));
            let footprint = Footprint { ram_bytes: u64::MAX, disk_bytes: u64::MAX };
            HandIn { height, miner, kind, attempts, spent, footprint, proof: None }
        };
        thread::scope(|scope| {
            for start in 0..8 {
                scope.spawn(move || {
                    let client = client(&network.metronome);
                    for number in (start..3000).step_by(8) {
                        let receipt: Value =
                            client.post_json("/v1/proofs", &report(number)).unwrap();
                        assert_eq!(receipt["receipt"], "noted");
                    }
                });
            }
        });
        let status: Status = client(&network.metronome).get_json("/v1/status").unwrap();
        assert!(status.validators.len() <= VALIDATORS_MAX, "{}", status.validators.len());
    });
}

/// The proof that costs most to refuse: right but for its last step.
#[test]
fn hand_ins_without_number_leave_room_for_others() {
    let chain = network::shared().as_ref().unwrap().chain.clone();
    let mut miners = Miners::new(&chain);
    attack("64 clients with 100 wrong memory proofs each", |network| {
        let (_, entries) = solved(network, &mut miners);
        let entry = entries.last().unwrap();
        let mut bytes = entry.proof.bytes.clone();
        *bytes.last_mut().unwrap() ^= 1;
        let proof = Proof { kind: entry.proof.kind, bytes };
        flood(network, &ProofEntry { miner: entry.miner, proof }, 0);
    });
}

/// As many of a round that is not open, which cost no verification: what is left is the traffic.
#[test]
fn late_hand_ins_without_number_leave_room_for_others() {
    let chain = network::shared().as_ref().unwrap().chain.clone();
    let mut miners = Miners::new(&chain);
    attack("64 clients with 100 memory proofs of another round each", |network| {
        let (_, entries) = solved(network, &mut miners);
        flood(network, entries.last().unwrap(), 1000);
    });
}

/// Hands `entry` in from 64 clients, for the height `ahead` of the open round.
fn flood(network: &Network, entry: &ProofEntry, ahead: u64) {
    let flood = || {
        let client = client(&network.metronome);
        let mut height = Height(0);
        for number in 0..100 {
            if number % 10 == 0 {
                height = Height(network.round().height.0 + ahead);
            }
            let sent = client.post_json::<_, Value>("/v1/proofs", &body(height, entry));
            let Err(ClientError::Problem(problem)) = sent else { panic!("{sent:?}") };
            assert!(is_refused(&problem.code), "{problem}");
        }
    };
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(flood);
        }
    });
}
