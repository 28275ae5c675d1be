//! Writes the seeds again: `cargo run --manifest-path fuzz/Cargo.toml --example make_seeds`.
//!
//! All come from fixed keys and numbers, so the files change only when a format does.

use std::{error::Error, fs, path::Path, sync::Arc};

use dsc_fuzz::encode;
use dsc_lib::{
    address::Prefix,
    block::{Block, Header},
    cluster::Position,
    codec::List,
    genesis::Chain,
    hash::Digest,
    ledger::{CheckedBlock, Ledger, State},
    mempool::feed::{self, Tag},
    proof::{
        Challenge, Fingerprint, Miner, NoProgress, ProofEntry, Resources, find, space::PAGE_LEN,
    },
    role::blockchain::{self, Equivocation},
    testing::{
        self, ALICE, BOB, CAROL, METRONOME, Miners, STRANGER, address, coins, disk::Dice, draft,
        next_block, pay, unchecked,
    },
    transaction::{Draft, Payment, Payments, Transaction},
    units::{Height, Millis},
};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let chain = testing::chain();
    let mut ledger = Ledger::in_memory(chain.clone());
    let mut miners = Miners::new(&chain);
    let before = ledger.state().clone();
    let proofs = miners.mine(&before);
    transactions()?;
    proofs_of(&before, &proofs)?;
    blocks(&before, &proofs)?;
    write("snapshot", "first", &encode(&ledger.snapshot()?))?;
    let block = next_block(&before, proofs, vec![pay(&ALICE, 0, address(&CAROL), 5)]);
    ledger.commit(&block)?;
    write("snapshot", "later", &encode(&ledger.snapshot()?))?;
    let mut file = Vec::new();
    ledger.export(&mut file)?;
    write("export", "one-block", &file)?;
    genesis()?;
    keys()?;
    vaults(&chain)?;
    tags()?;
    texts()?;
    configurations()?;
    wire(&ledger, &block)?;
    batches()?;
    requests()?;
    scripts()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

/// One payment and several, with a memo.
fn several() -> Transaction {
    let to = [&ALICE, &BOB, &CAROL].map(|key| address(key));
    let payments = to.into_iter().map(|to| Payment { to, amount: coins(2) }).collect();
    let payments = Payments::new(payments).expect("three payments");
    let memo = List::new(b"for the fish".to_vec()).expect("a short memo");
    let draft = draft(1, address(&CAROL), coins(1), coins(1));
    Draft { payments, memo, ..draft }.sign(&testing::genesis().hash(), &ALICE)
}

fn transactions() -> Outcome {
    write("transaction", "one-payment", &encode(&pay(&ALICE, 0, address(&CAROL), 5)))?;
    write("transaction", "three-payments", &encode(&several()))?;
    write("transaction", "no-coins", &encode(&pay(&STRANGER, 0, address(&CAROL), 5)))
}

fn proofs_of(state: &State, proofs: &[ProofEntry]) -> Outcome {
    let challenge = encode(&Challenge(state.round().challenge));
    for entry in proofs {
        let seed = [challenge.clone(), encode(entry)].concat();
        write("proof", entry.proof.kind.name(), &seed)?;
    }
    Ok(())
}

fn blocks(state: &State, proofs: &[ProofEntry]) -> Outcome {
    let transactions = vec![pay(&ALICE, 0, address(&CAROL), 5), several()];
    let full: Block = unchecked(&next_block(state, proofs.to_vec(), transactions));
    write("block", "all-proofs", &encode(&full))?;
    let empty: Block = unchecked(&next_block(state, Vec::new(), Vec::new()));
    write("block", "empty", &encode(&empty))?;
    let late = Block { header: Header { height: Height(9), ..full.header }, ..full };
    write("block", "wrong-height", &encode(&late))
}

fn genesis() -> Outcome {
    let genesis = testing::genesis();
    write("genesis", "bytes", &encode(&genesis))?;
    write("genesis", "json", &serde_json::to_vec_pretty(&genesis)?)
}

/// The keys that the tests read, as other tools wrote them.
fn keys() -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dsc-lib/tests/data/keys");
    for name in ["vector", "scrypt", "pbkdf2", "pbes1", "triple-des", "pkcs1", "ed25519"] {
        write("key_file", name, &fs::read(folder.join(name).with_extension("pem"))?)?;
    }
    write("key_file", "public", ALICE.public().to_spki_pem().as_bytes())
}

/// The first pages of a vault of the least size.
fn vaults(chain: &Chain) -> Outcome {
    let engine = chain.engine(find("space")?.kind).ok_or("an engine that is registered")?;
    let miner = Miner { address: address(&ALICE), fingerprint: Fingerprint([1; 16]) };
    let folder = tempfile::tempdir()?;
    engine.prepare(&miner, &Resources::new(folder.path()), &NoProgress)?;
    let file = fs::read_dir(folder.path())?.next().ok_or("a vault was plotted")??;
    let bytes = fs::read(file.path())?;
    write("vault", "header", &bytes[..PAGE_LEN])?;
    write("vault", "two-buckets", &bytes[..3 * PAGE_LEN])
}

/// A key, the kind of number and what is near it, a count and a shift.
fn tags() -> Outcome {
    let few = [&[7; 32][..], &[0, 0, 1, 0]].concat();
    write("tag", "zero", &few)?;
    let carry = u64::from(u32::MAX) - 7;
    write("tag", "carry", &[&[7; 32][..], &[7, 0], &carry.to_le_bytes(), &[99, 3]].concat())
}

/// What roles send each other, in lists and as JSON.
fn wire(ledger: &Ledger, block: &CheckedBlock) -> Outcome {
    let archive = ledger.archive();
    let confirmed = blockchain::confirmed(archive, ledger.state().chain(), Vec::new(), Height(0))?;
    write("lists", "confirmed", &encode(&confirmed))?;
    let bytes = List::<u8, 0, { 1 << 28 }>::new(block.to_bytes())?;
    write("lists", "blocks", &encode(&List::<_, 0, 1>::new(vec![bytes])?))?;
    let few = block.transactions().iter().map(|t| t.encoded().clone()).collect();
    let few = encode(&List::<_, 0, 4>::new(few)?);
    write("lists", "transactions", &few)?;
    write("lists", "in-pieces", &[&[1, 3, 9, 0, 40, 5, 7, 11], &few[..]].concat())?;
    write("lists", "header", &encode(block.header()))?;
    let id = block.transactions().first().ok_or("the block has one")?.id();
    let inclusion = blockchain::Inclusion::read(archive, &id)?.ok_or("it is on the ledger")?;
    write("json", "inclusion", &serde_json::to_vec(&inclusion)?)?;
    write("json", "header", &serde_json::to_vec(block.header())?)?;
    let first = block.header().clone();
    let second = Header { time: Millis(first.time.0 + 1), ..first.clone() }.sign(&METRONOME);
    write("json", "equivocation", &serde_json::to_vec(&Equivocation { first, second })?)?;
    for entry in &**block.proofs() {
        let name = format!("entry-{}", entry.proof.kind.name());
        write("json", &name, &serde_json::to_vec(entry)?)?;
    }
    bodies()
}

/// Requests to the servers by number: blockchain, pool, metronome, monitor.
fn requests() -> Outcome {
    let (of, id) = (address(&ALICE).to_text(Prefix::Development), Digest([7; 32]));
    let get = [
        (0, "accounts", format!("/v1/accounts/{of}")),
        (0, "history", format!("/v1/accounts/{of}/transactions?before_height=9&limit=5")),
        (0, "blocks", "/v1/blocks?from=0&wait=10".into()),
        (0, "block", "/v1/blocks/0".into()),
        (0, "raw", "/v1/blocks/tip/raw".into()),
        (0, "confirmed", "/v1/confirmed?from=0".into()),
        (0, "info", "/v1/info".into()),
        (0, "snapshot", "/v1/snapshot".into()),
        (0, "proof", format!("/v1/transactions/{id}/proof")),
        (1, "pending", "/v1/pending?height=1".into()),
        (1, "next", format!("/v1/accounts/{of}")),
        (1, "where", format!("/v1/transactions/{id}")),
        (2, "round", format!("/v1/round?after=0&challenge={id}&wait=1")),
        (2, "status", "/v1/status".into()),
        (3, "report", "/v1/report".into()),
        (3, "events", "/v1/events".into()),
        (3, "metrics", "/metrics".into()),
    ];
    for (role, name, target) in get {
        request(role, name, &format!("GET {target}"), b"")?;
    }
    let sent = encode(&List::<_, 0, 4>::new(vec![pay(&ALICE, 0, address(&BOB), 5), several()])?);
    request(1, "submit", "POST /v1/transactions?brief=true", &sent)?;
    let faucet = format!(r#"{{"address":"{}"}}"#, address(&BOB));
    request(1, "faucet", "POST /v1/faucet", faucet.as_bytes())?;
    request(2, "hand-in", "POST /v1/proofs", hand_in().as_bytes())?;
    request(2, "stop", "POST /v1/stop", b"")
}

fn request(role: u8, name: &str, line: &str, body: &[u8]) -> Outcome {
    let json = body.starts_with(b"{");
    let kind = if json { "application/json" } else { "application/octet-stream" };
    let head = format!("{line}\ncontent-type: {kind}\n\n");
    write("http", name, &[&[role], head.as_bytes(), body].concat())
}

/// What a validator without a proof hands in.
fn hand_in() -> String {
    let (of, fingerprint) = (address(&ALICE), Fingerprint([1; 16]));
    format!(
        r#"{{"height":1,"miner":{{"address":"{of}","fingerprint":"{fingerprint}"}},"kind":"work",
            "attempts":2,"spent":3,"footprint":{{"ram_bytes":4,"disk_bytes":5}}}}"#
    )
}

/// Short bodies, as people would write them.
fn bodies() -> Outcome {
    write("json", "hand-in", hand_in().as_bytes())?;
    for (name, body) in [
        ("account", r#"{"balance":"12.5","sequence":3}"#),
        ("refusal", r#"{"code":"no-round","reason":"there is none"}"#),
        ("status", r#"{"state":"rejected","code":"evicted","reason":"full"}"#),
        ("confirmed", r#"{"state":"confirmed","height":7}"#),
        ("sequence", r#"{"sequence":1}"#),
    ] {
        write("json", name, body.as_bytes())?;
    }
    Ok(())
}

/// Targets that read their bytes as a script begin with nothing special and with dice.
fn scripts() -> Outcome {
    let targets = [
        "accounts",
        "inclusion",
        "journal",
        "log",
        "mempool",
        "numbers",
        "signature",
        "signed",
        "store",
        "verify",
    ];
    for target in targets {
        write(target, "zeros", &[0; 16])?;
        for (name, len) in [("dice-short", 40), ("dice-long", 400)] {
            let mut dice = Dice(len);
            let script: Vec<u8> = (0..len).map(|_| dice.roll() as u8).collect();
            write(target, name, &script)?;
        }
    }
    Ok(())
}

fn batches() -> Outcome {
    let hash = testing::genesis().hash();
    let shared = |sequence| pay(&ALICE, sequence, address(&BOB), 1).check(&hash).map(Arc::new);
    let batch = feed::encode(Tag([7; 16]), Position(3), &[shared(0)?, shared(1)?]);
    write("log", "two-payments", &batch)
}

fn texts() -> Outcome {
    for prefix in Prefix::ALL {
        write("text", &format!("address-{prefix}"), address(&ALICE).to_text(prefix).as_bytes())?;
    }
    write("text", "amount", b"200000.00000001")?;
    write("text", "digest", testing::genesis().hash().to_string().as_bytes())?;
    write("text", "fingerprint", Fingerprint([10; 16]).to_string().as_bytes())
}

fn configurations() -> Outcome {
    let template = dsc_fuzz::template();
    write("configuration", "template", template.as_bytes())?;
    let set: Vec<_> = template.lines().map(uncommented).collect();
    write("configuration", "all-set", set.join("\n").as_bytes())
}

fn uncommented(line: &str) -> &str {
    match line.strip_prefix("# ") {
        Some(setting) if setting.contains(" = ") => setting,
        _ => line,
    }
}
