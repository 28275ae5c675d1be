//! How figures, rows and what is seen of roles travel: their JSON schemas.

use dsc_lib::{
    mempool::{Latency, LatencyClass, Note},
    proof::ProofKind,
    role::{
        Refusal,
        blockchain::{Audit, Summary, Winner},
        monitor::{
            BlockRow, ByEngine, Figures, LatencyFigures, RoundFigures, Row, Sample, ServerRow,
            ValidatorRow,
        },
        pool::{Activity, RecentTransaction},
    },
    units::Millis,
};
use serde_json::{Map, Value, json};

use super::Held;
use crate::{
    http::openapi::{Describe, Field, Fields, Schemas, answered, describe},
    role::describe::Bech32m,
};

impl<T: Describe> Describe for Held<T> {
    fn bare(known: &mut Schemas) -> Value {
        T::bare(known)
    }
}

impl Describe for ByEngine {
    fn bare(known: &mut Schemas) -> Value {
        known.named("ByEngine", |_| {
            let figure = json!({ "anyOf": [{ "type": "number" }, { "type": "null" }] });
            let names = ProofKind::all().map(ProofKind::name);
            let figures: Map<_, _> = names.map(|name| (name.to_owned(), figure.clone())).collect();
            json!({
                "description": "A figure of each engine; null where it is not known.",
                "type": "object", "properties": figures,
            })
        })
    }
}

describe! { answered LatencyFigures as "LatencyFigures": "From submission to confirmation." {
    count: "Transactions confirmed since the sample before.",
    p50: "Half of them took at most this, within a quarter.",
    p90: "Nine of ten took at most this, within a quarter.",
    max: "All of them took at most this, within a quarter.",
}}

describe! { answered RoundFigures as "RoundFigures": "The round that is open." {
    height: "Height of its block.",
    closes_in: "Time until the tick.",
}}

describe! { answered Figures as "Figures": "One look at all roles; null is what nobody said." {
    time: "When the roles had been asked.",
    height: "Height of the tip.",
    final_height: "Height up to which two blockchain servers have every block; null if there is one.",
    tip_time: "Time of the tip.",
    interval: "Planned time between blocks.",
    transactions: "Transactions on the ledger.",
    submitted_total: "Transactions that the pool has taken since its start.",
    pool_submitted: "Transactions waiting in the pool.",
    pool_unconfirmed: "Transactions handed out for a block that is not on the ledger yet.",
    pool_bytes: "Bytes of both together.",
    rejected_total: "Rejections since the pool's start.",
    expired_total: "Transactions expired since the pool's start.",
    latency: "From submission to confirmation; null if nothing was confirmed since the sample before.",
    accounts: "Accounts that are not empty.",
    supply: "Coins in being.",
    supply_ok: "Whether the balances added up when they were counted last; null if they were not yet.",
    difficulty: "Expected tries for a proof, by engine.",
    proof_seconds: "Seconds that validators spent on the last round they reported, on average.",
    round: "The open round; null if none is.",
    validators_alive: "Validators heard of within three planned block times, or five seconds.",
    faults: "Who does not answer, lags behind or complains, and of what.",
}}

impl Describe for Sample {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Sample", |known| {
            let _: fn(&Self) = |Self { figures: _, validators: _, servers: _ }| ();
            let about =
                "Validators that are or in the last hour were there: 128 at most, the best first.";
            let mut fields = Figures::fields(known);
            fields.push(Field::new::<Vec<ValidatorRow>>("validators", about, known));
            let about = "Each server of every role, where one has several; empty otherwise.";
            fields.push(Field::new::<Vec<ServerRow>>("servers", about, known));
            answered("One look at all roles, with the validators and servers.", fields)
        })
    }
}

describe! { answered ValidatorRow as "ValidatorRow": "A validator." {
    fingerprint: "Which of its owner's validators it is.",
    address as Bech32m: "Whose account is paid.",
    proof: "With which engine.",
    won: "Blocks won.",
    share: "Of all blocks that anybody won, 0 to 1.",
    rate: "Tries in a second, in its last report.",
    ram_bytes: "Bytes that its prover holds in RAM.",
    disk_bytes: "Bytes that its prover holds on disk.",
    last_seen: "When the metronome heard of it last.",
    alive: "Whether it was heard of within three planned block times, or five seconds.",
}}

describe! { answered ServerRow as "ServerRow": "A server of a role, as it said itself." {
    role: "`blockchain`, `pool` or `metronome`.",
    url: "Where it is asked.",
    alive: "Whether it answers.",
    ready: "Whether it answers and has what it depends on.",
    fault: "Why it is not ready; null if it is.",
    height: "Height of a blockchain server's tip; null before the first block, and of other roles.",
    final_height: "Height up to which a blockchain server knows that another one has every block.",
    stale_since: "Since when a blockchain server hears nothing of the engine; null if it does.",
    leading: "Whether a metronome leads; null of other roles.",
    epoch: "The number of the lease that a metronome held last; null of other roles.",
}}

describe! { answered BlockRow as "BlockRow": "A block at a glance." {
    height: "Its height.",
    hash: "Its hash.",
    time: "When it was made.",
    transactions: "Transactions in it.",
    payments: "Payments in them.",
    bytes: "Bytes of its encoding.",
    amount: "What the payments are together.",
    fees: "The fees of its transactions.",
    reward: "New coins for its winner.",
    winner: "The engine whose proof won; null if there was no proof.",
    miner as Option<Bech32m>: "Whose account was paid; null if nobody's.",
    fingerprint: "Which of the owner's validators won; null if none.",
    proofs: "Proofs in it.",
}}

describe! { answered Row as "Row": "A transaction as it is listed." {
    id: "Its id.",
    from as Bech32m: "Who pays.",
    to as Option<Bech32m>: "Who is paid; null if there are several.",
    payments: "How many payments it has.",
    amount: "What they are together.",
    fee: "Its fee.",
    state: "`submitted`, `unconfirmed`, `confirmed`, `rejected` or `expired`.",
    height: "Its block, or the one it was handed out for or missed.",
    time: "When it was confirmed, or submitted if it is not.",
}}

describe! { answered Summary as "Summary": "A block at a glance." {
    height: "Its height.",
    hash: "Its hash.",
    time: "When it was made.",
    transactions: "Transactions in it.",
    payments: "Payments in them.",
    bytes: "Bytes of its encoding.",
    amount: "What the payments are together.",
    fees: "The fees of its transactions.",
    reward: "New coins for its winner.",
    winner: "Who won; null if there was no proof.",
    proofs: "Proofs in it.",
}}

describe! { answered Winner as "Winner": "Who has won a block." {
    kind: "With which engine.",
    miner: "Who.",
}}

describe! { answered Audit as "Audit": "Whether the balances add up." {
    height: "The last block that is counted; null before the first.",
    balances: "All balances together; null if they are more than an amount can hold.",
    issued: "Coins of the genesis and rewards, less burned fees.",
    holds: "Whether the two are the same.",
}}

describe! { answered Activity as "Activity": "What there is to see of a pool." {
    counts: "How much is held.",
    latency: "How long transactions took until the ledger had them, since the start.",
    height: "The last block that was followed; null before the first.",
    fault: "What went wrong with the blockchain server last; null if nothing did, or it is mended.",
    recent: "Some of the transactions that came lately, newest first: 128 at most, 8 of one second.",
}}

impl Describe for Latency {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Latency", |known| {
            let fields = vec![
                Field::new::<Millis>("sum", "All times together.", known),
                Field::new::<Vec<LatencyClass>>("classes", "Those that are not empty.", known),
            ];
            answered("Times from submission to confirmation, counted in classes.", fields)
        })
    }
}

describe! { answered LatencyClass as "LatencyClass": "A class of times." {
    at_most: "The longest time in it.",
    count: "How many there are.",
}}

describe! { answered RecentTransaction as "RecentTransaction": "A transaction that came lately." {
    note: "What was noted of it.",
    status: "How it stands; null if that is forgotten.",
}}

describe! { answered Note as "Note": "What a pool noted of a transaction." {
    id: "Its id.",
    sender: "Who pays.",
    to: "Who is paid; null if there are several.",
    payments: "How many payments it has.",
    amount: "What they are together.",
    fee: "Its fee.",
    submitted: "When it came.",
    unconfirmed: "When it was handed out for a block last.",
    confirmed: "When the pool saw it on the ledger.",
}}

describe! { answered Refusal as "Refusal": "Why something was refused." {
    code: "Why, for programs.",
    reason: "Why, for people.",
}}
