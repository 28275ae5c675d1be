//! How the types of the protocol travel: their JSON schemas.
//!
//! # Invariants
//!
//! 1. What is written here of a type's form is what `serde` makes of it; `testing/tests.rs` compares
//!    them.

use dsc_lib::{
    address::Address,
    block::Header,
    hash::Digest,
    ledger::Wins,
    mempool::{Counts, Status},
    merkle::InclusionProof,
    proof::{Fingerprint, Footprint, Miner, ProofKind},
    role::{
        blockchain::{Accepted, Equivocation, Inclusion, Info},
        metronome::{self, OpenRound, Receipt, Validator},
        monitor::Report,
        pool::{NextSequence, Outcome},
    },
    units::{Amount, Height, Millis, Target},
};
use serde_json::{Value, json};

use crate::http::openapi::{Describe, Field, Schemas, answered, describe};

/// Digits of the largest amount before the point, and after it.
const AMOUNT_MAX: (&str, &str) = ("184467440737", "09551615");
const DIGEST: &str = "5f1d7a2f0f4f5c3a7b9e8d6c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";
/// The published key that development networks fund first.
const ADDRESS: &str = "bd7c5a1f0e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3";

fn hex_of(bytes: usize) -> String {
    format!("^[0-9a-fA-F]{{{}}}$", 2 * bytes)
}

/// Bytes of any number, in hexadecimal.
#[derive(Debug)]
pub(crate) struct Hex;

impl Describe for Hex {
    fn bare(_: &mut Schemas) -> Value {
        json!({ "type": "string", "pattern": "^([0-9a-fA-F]{2})*$" })
    }
}

impl Describe for Digest {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Digest", |_| {
            json!({
                "description": "32 bytes, such as a hash or an id, in hexadecimal.",
                "type": "string", "pattern": hex_of(32), "examples": [DIGEST]
            })
        })
    }
}

impl Describe for Address {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Address", |_| {
            json!({
                "description": "The 32 bytes of an address, in hexadecimal, as roles tell each other.",
                "type": "string", "pattern": hex_of(32), "examples": [ADDRESS]
            })
        })
    }
}

/// An address in the Bech32m text of its network.
#[derive(Debug)]
pub(crate) struct Bech32m;

impl Describe for Bech32m {
    fn bare(known: &mut Schemas) -> Value {
        known.named("AddressText", |_| {
            json!({
                "description": "An address in Bech32m: `dsc`, or `dscd` for development networks, `1`, \
                                52 characters of data and 6 of checksum.",
                "type": "string", "format": "dsc-address",
            })
        })
    }
}

/// An address in a path: either text of it.
#[derive(Debug)]
pub(crate) struct AnyAddress;

impl Describe for AnyAddress {
    fn bare(known: &mut Schemas) -> Value {
        json!({ "anyOf": [Address::bare(known), Bech32m::bare(known)] })
    }
}

/// What names a block in a path.
#[derive(Debug)]
pub(crate) struct BlockName;

impl Describe for BlockName {
    fn bare(known: &mut Schemas) -> Value {
        json!({ "anyOf": [Height::bare(known), Digest::bare(known), { "const": "tip" }] })
    }
}

impl Describe for dsc_lib::keys::Signature {
    fn bare(_: &mut Schemas) -> Value {
        json!({ "type": "string", "pattern": hex_of(256) })
    }
}

impl Describe for Height {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Height", |_| {
            json!({
                "description": "A block's distance from the first one, which has height 0.",
                "type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX,
                "examples": [0, 42]
            })
        })
    }
}

impl Describe for Millis {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Millis", |_| {
            json!({
                "description": "Milliseconds: since the Unix epoch for a time, else a span.",
                "type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX,
                "examples": [500]
            })
        })
    }
}

impl Describe for Amount {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Amount", |_| {
            json!({
                "description": "Coins as a decimal string, with at most 8 digits after the point; \
                                at most 184467440737.09551615.",
                "type": "string", "pattern": amount_pattern(), "examples": ["12.5"]
            })
        })
    }
}

/// Alternatives of a regular expression for numbers of as many digits that are less than `digits`.
fn less_than(digits: &str, rest: impl Fn(usize) -> String) -> String {
    let less = digits.char_indices().filter(|(_, digit)| *digit > '0').map(|(at, digit)| {
        let largest = char::from(digit as u8 - 1);
        let range = if largest == '0' { "0".into() } else { format!("[0-{largest}]") };
        format!("{}{range}{}", &digits[..at], rest(digits.len() - at - 1))
    });
    less.collect::<Vec<_>>().join("|")
}

/// The texts of amounts: those of the largest number of coins have less after the point.
fn amount_pattern() -> String {
    let (coins, units) = AMOUNT_MAX;
    let shorter = format!("[0-9]{{1,{}}}", coins.len() - 1);
    let less = less_than(coins, |left| format!("[0-9]{{{left}}}"));
    let less_units = less_than(units, |left| format!("[0-9]{{0,{left}}}"));
    let starts: Vec<&str> = (1..=units.len()).map(|len| &units[..len]).collect();
    let starts = starts.join("|");
    format!("^0*(({shorter}|{less})(\\.[0-9]{{1,8}})?|{coins}(\\.({less_units}|{starts}))?)$")
}

impl Describe for Target {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Target", |_| {
            json!({
                "description": "What a proof's quality must not exceed, as a decimal string of 64 \
                                bits: lower is harder.",
                "type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$",
                "examples": ["18446744073709551615"]
            })
        })
    }
}

impl Describe for ProofKind {
    fn bare(known: &mut Schemas) -> Value {
        known.named("ProofKind", |_| {
            let names: Vec<&str> = Self::all().map(Self::name).collect();
            json!({ "description": "A proof engine.", "type": "string", "enum": names })
        })
    }
}

impl Describe for Fingerprint {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Fingerprint", |_| {
            json!({
                "description": "The UUID that a validator chose for itself.",
                "type": "string", "format": "uuid",
                "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
                "examples": ["00010203-0405-0607-0809-0a0b0c0d0e0f"]
            })
        })
    }
}

describe! { answered Miner as "Miner": "Who is paid for a proof." {
    address: "Whose account is paid.",
    fingerprint: "Which of the owner's validators it is.",
}}

describe! { answered Footprint as "Footprint": "What a prover holds." {
    ram_bytes: "Bytes in RAM.",
    disk_bytes: "Bytes on disk.",
}}

describe! { answered Info as "Info": "Where the ledger stands." {
    chain: "Hash of the genesis, which names the chain.",
    network: "Name of the network.",
    development: "Whether it is a development network, whose keys are published.",
    height: "Height of the tip; null before the first block.",
    tip: "Hash of the tip, or of the genesis.",
    time: "Time of the tip, or of the genesis.",
    state: "State commitment at the tip.",
    supply: "Coins in being.",
    accounts: "Accounts that are not empty.",
    transactions: "Transactions on the ledger.",
    challenge: "What proofs for the next block answer.",
    targets: "What they must meet, in the order of engines: work, space, memory.",
    wins: "Blocks won since the first one.",
    equivocations: "Heights at which a metronome was seen to have signed two blocks.",
    final_height: "Height up to which at least two blockchain servers have every block on disk; null \
                   if there is one server, or if that is not known.",
    stale_since: "Since when the server hears nothing of the engine that it shares with others, as in \
                  `x-stale-since`; null if it does, or shares none.",
}}

describe! { answered Equivocation as "Equivocation": "Two headers of one height with the same signer." {
    first: "The one that is on the ledger.",
    second: "The other one.",
}}

impl Describe for Wins {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Wins", |known| {
            let win = vec![
                Field::new::<ProofKind>("kind", "The engine.", known),
                Field::new::<Miner>("miner", "Who won.", known),
                Field::new::<u64>("blocks", "How many.", known),
            ];
            let winners = Field::list("winners", "By engine and miner.", &answered("", win));
            let none = Field::new::<u64>("none", "Blocks without a winner.", known);
            answered("Blocks won.", vec![winners, none])
        })
    }
}

describe! { answered Accepted as "Accepted": "A block that is on disk." {
    height: "Its height.",
    hash: "Its hash.",
}}

describe! { answered Header as "Header": "What a metronome signs (docs/protocol.md)." {
    version: "The version of the format: 1.",
    chain: "Hash of the genesis.",
    height: "Height of the block.",
    epoch: "The metronome's lease number; 0 when it is alone.",
    parent: "Hash of the block before; of the genesis for the first one.",
    time: "When it was made.",
    challenge: "What the proofs answer.",
    targets: "What they must meet, in the order of engines.",
    transactions: "Number of transactions.",
    transactions_root: "Root of the tree over whole transactions.",
    proofs_root: "Root of the tree over proof entries.",
    state: "State commitment after this block.",
    metronome: "Address of the metronome's key.",
    signature: "The metronome's signature of the block hash: 256 bytes in hexadecimal.",
}}

describe! { answered InclusionProof as "InclusionProof": "A path from a leaf to the root of a tree." {
    index: "The leaf's place, from 0.",
    count: "Leaves in the tree.",
    path as Vec<Digest>: "Siblings from the leaf's upwards; a level where the node moves up has none.",
}}

describe! { answered Inclusion as "Inclusion": "Proof that a transaction is on the ledger." {
    header: "Header of its block.",
    proof: "Its place in the tree over transactions.",
    transaction as Hex: "The whole transaction in the canonical encoding, in hexadecimal.",
    tip: "Height of the tip when this was answered.",
}}

describe! { answered OpenRound as "OpenRound": "A round that proofs can be handed in for." {
    height: "Height of its block.",
    challenge: "What proofs answer.",
    targets: "What they must meet, in the order of engines.",
    closes_in: "Time until the tick.",
}}

impl Describe for Receipt {
    fn bare(_: &mut Schemas) -> Value {
        json!({ "type": "string", "enum": ["best", "outbid", "noted"] })
    }
}

describe! { answered Validator as "Validator": "What is known of a validator." {
    miner: "Who.",
    kind: "With which engine.",
    last_seen: "When it was heard of last.",
    height: "The last round it reported.",
    attempts: "Tries in that round.",
    spent: "Time spent on them.",
    footprint: "What its prover holds.",
}}

describe! { answered metronome::Status as "MetronomeStatus": "How a metronome stands." {
    running: "Whether it makes blocks, when it leads.",
    leading: "Whether it leads: of several metronomes one does, and the only one always.",
    epoch: "Number of its lease, which its blocks name; 0 if it never held one.",
    leader: "Where the one that leads is reached; null where there is only one.",
    round: "The round that is open; null if none is.",
    interval: "Planned time between blocks.",
    validators: "Validators that reported lately, by miner and engine; reports are not checked.",
    fault: "What went wrong last; null if nothing did, or it is mended.",
}}

describe! { answered Counts as "Counts": "How much a pool holds." {
    submitted: "Transactions waiting.",
    unconfirmed: "Transactions handed out for a block that is not on the ledger yet.",
    bytes: "Bytes of both together.",
    confirmed: "Transactions confirmed since the start.",
    rejected: "Rejections since the start.",
    expired: "Transactions expired since the start.",
    finished: "Transactions that have ended and are remembered.",
    added: "Transactions taken in since the start.",
}}

describe! { answered NextSequence as "NextSequence": "What the next transaction should use." {
    sequence: "The account's sequence, plus the transactions held without a gap.",
    height: "Height of the next block, from which a sender counts the expiry.",
}}

describe! { answered Report as "Report": "What the roles said last." {
    time: "When this round of questions ended.",
    chain: "The ledger; null if the blockchain server did not answer.",
    pool: "The pool's holdings; null if it did not answer.",
    metronome: "The metronome and its validators; null if it did not answer.",
    faults: "Who did not answer, and why.",
    servers: "Each server of every role, where one has several; empty otherwise.",
}}

/// One of several objects that `tag` tells apart.
fn one_of(about: &str, variants: Vec<Vec<Field>>) -> Value {
    let variants: Vec<Value> = variants.into_iter().map(|fields| answered("", fields)).collect();
    json!({ "description": about, "oneOf": variants })
}

impl Describe for Status {
    fn bare(known: &mut Schemas) -> Value {
        known.named("TransactionStatus", |known| {
            let mut at = |state, about| {
                vec![Field::tag("state", state), Field::new::<Height>("height", about, known)]
            };
            let mut variants = vec![
                vec![Field::tag("state", "submitted")],
                at("unconfirmed", "The block it was handed out for."),
                at("confirmed", "Its block."),
                at("expired", "The block it missed last."),
            ];
            variants.push([vec![Field::tag("state", "rejected")], refusal(known)].concat());
            one_of("Where a transaction is on its way.", variants)
        })
    }
}

fn refusal(known: &mut Schemas) -> Vec<Field> {
    vec![
        Field::new::<String>("code", "Why, for programs.", known),
        Field::new::<String>("reason", "Why, for people.", known),
    ]
}

/// The fields of an outcome of a transaction that is not held.
pub(crate) fn rejected(known: &mut Schemas) -> Vec<Field> {
    let mut fields = outcome("rejected", known);
    fields.extend(refusal(known));
    let about = "Whether the same transaction may be taken later, once others have ended.";
    fields.push(Field::new::<bool>("retry", about, known));
    fields
}

fn outcome(name: &str, known: &mut Schemas) -> Vec<Field> {
    vec![Field::tag("outcome", name), Field::new::<Digest>("id", "Its id.", known)]
}

impl Describe for Outcome {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Outcome", |known| {
            let mut held = outcome("known", known);
            held.push(Field::new::<Status>("status", "How it stands.", known));
            let variants = vec![outcome("added", known), held, rejected(known)];
            one_of("What became of a transaction that was submitted.", variants)
        })
    }
}
