//! The routes of a pool, and what each is for.

use std::sync::Arc;

use dsc_lib::{
    hash::Digest,
    mempool::{Counts, Status},
    role::pool::{Activity, NextSequence, Outcome},
};
use serde_json::{Value, json};

use super::{
    FaucetBody, HeldRecord, Server, Wanted,
    submission::{self, Brief, Rejected},
};
use crate::{
    http::openapi::{
        Describe, Field, Group, Operation, Outline, Routes, Schemas, answered, describe,
    },
    role::{
        describe::{AnyAddress, Hex, rejected},
        openapi::{genesis, of_address},
    },
};

const ABOUT: &str =
    "Holds transactions until the ledger has them. Port 7702 unless told otherwise.";

const NOT_READY: (u16, &str, &str) = (503, "not-ready", "the pool has not reached the ledger yet");

const JOURNAL_FAILED: (u16, &str, &str) =
    (503, "journal-failed", "the pool cannot put transactions on disk");
const UNAVAILABLE: (u16, &str, &str) =
    (503, "engine-unavailable", "the engine that pools share cannot be reached; nothing is held");
const UNSETTLED: (u16, &str, &str) =
    (503, "unsettled", "the engine has not said whether they are held; send the same again");

/// Every route.
pub(crate) fn outline() -> Outline<Arc<Server>> {
    let quick = Routes::new()
        .get("/v1/genesis", super::chain_genesis, genesis())
        .get("/v1/transactions/{id}", super::status, status())
        .get("/v1/transactions/{id}/record", super::record, record())
        .get("/v1/activity", super::activity, activity())
        .get("/v1/pending", super::take, pending())
        .get("/v1/accounts/{address}", super::next_sequence, next_sequence())
        .get("/v1/counts", super::counts, counts());
    let inflow = Routes::new().post("/v1/transactions", submission::submit, submit());
    let admin = Routes::new().post("/v1/faucet", super::faucet, faucet());
    Outline::new("pool", ABOUT)
        .add(Group::Quick, quick)
        .add(Group::Streaming, inflow)
        .add(Group::Admin, admin)
}

fn activity() -> Operation {
    Operation::new("activity", "What there is to see").json::<Activity>(
        "How much is held, how long transactions took to be confirmed, and some that came lately: of \
         each second the first few.",
    )
}

fn status() -> Operation {
    of_transaction("status", "Where a transaction is on its way").json::<Status>("How it stands.")
}

fn record() -> Operation {
    of_transaction("record", "All that is known of a transaction")
        .json::<HeldRecord>("How it stands, when, and its content while it is held.")
}

fn of_transaction(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .path::<Digest>("id", "Id of the transaction.")
        .fault(NOT_READY.0, NOT_READY.1, NOT_READY.2)
        .fault(400, "invalid-id", "the id is not 64 hexadecimal digits")
        .fault(400, "invalid-path", "the path is not UTF-8")
        .fault(404, "not-found", "this pool knows no such transaction")
}

fn pending() -> Operation {
    Operation::new("pending", "Transactions for a block")
        .about(
            "For a metronome: the best by fee per byte, and the same again for the same height until \
             the block is there.",
        )
        .query::<Wanted>()
        .binary("A list of encoded transactions; empty for a height that is not next.")
}

fn next_sequence() -> Operation {
    of_address("nextSequence", "What the next transaction of an address should use")
        .json::<NextSequence>("Counting what is held.")
        .fault(NOT_READY.0, NOT_READY.1, NOT_READY.2)
}

fn counts() -> Operation {
    Operation::new("counts", "How much is held").json::<Counts>("Now, and since the start.")
}

fn submit() -> Operation {
    Operation::new("submitTransactions", "Submit transactions")
        .about(
            "Reads the list while it comes in; what is answered as held is on disk, or in the log that \
             the pools of a cluster share. Submitting the same bytes again, to any of them, changes \
             nothing. After 400 for bytes that are no list, what came before them is held.",
        )
        .query::<submission::Wanted>()
        .takes_binary("A list of encoded transactions: at most 131,072 with `brief`, else 16,384.")
        .json::<Submitted>("One outcome for each, in order; or, with `brief`, how many of each.")
        .fault(400, "not-canonical", "the body is not a list of transactions, empty or too long")
        .fault(429, "pool-busy", "too much waits to be checked; nothing of this was taken")
        .fault(429, "pool-full", "there is no room for any of them")
        .fault(NOT_READY.0, NOT_READY.1, NOT_READY.2)
        .fault(JOURNAL_FAILED.0, JOURNAL_FAILED.1, JOURNAL_FAILED.2)
        .fault(UNAVAILABLE.0, UNAVAILABLE.1, UNAVAILABLE.2)
        .fault(UNSETTLED.0, UNSETTLED.1, UNSETTLED.2)
}

fn faucet() -> Operation {
    let example = json!({ "address": Digest::ZERO, "amount": "12.5" });
    Operation::new("faucet", "Be paid on a development network")
        .takes_json::<FaucetBody>("Whom to pay, and how much.", example)
        .json::<Outcome>("The payment is held.")
        .fault(404, "not-found", "this pool has no faucet")
        .fault(429, "pool-busy", "too much waits to be checked")
        .fault(429, "pool-full", "the log that pools share is full")
        .fault(NOT_READY.0, NOT_READY.1, NOT_READY.2)
        .fault(JOURNAL_FAILED.0, JOURNAL_FAILED.1, JOURNAL_FAILED.2)
        .fault(UNAVAILABLE.0, UNAVAILABLE.1, UNAVAILABLE.2)
        .fault(UNSETTLED.0, UNSETTLED.1, UNSETTLED.2)
        .rules("nothing is to be paid (`invalid-payment`), or the pool does not take the payment")
}

/// The answer to a submission.
struct Submitted;

impl Describe for Submitted {
    fn bare(known: &mut Schemas) -> Value {
        json!({ "oneOf": [Vec::<Outcome>::bare(known), Brief::bare(known)] })
    }
}

describe! { answered Brief as "Brief": "The short answer to a submission." {
    added: "How many are held now.",
    known: "How many were known already.",
    refused: "How many are not held.",
    rejected: "The first thousand of those.",
}}

impl Describe for Rejected {
    fn bare(known: &mut Schemas) -> Value {
        let _: fn(&Self) = |Self { index: _, outcome: _ }| ();
        known.named("Rejected", |known| {
            let about = "Its place in the submission, from 0.";
            let mut fields = vec![Field::new::<u64>("index", about, known)];
            fields.extend(rejected(known));
            answered("A transaction that is not held.", fields)
        })
    }
}

describe! { answered HeldRecord as "HeldRecord": "All that a pool knows of a transaction." {
    status: "How it stands.",
    note: "What was noted of it; null if it came long ago, or among too many.",
    transaction as Option<Hex>: "The canonical encoding, in hexadecimal; null once it has ended.",
}}

describe! { asked Wanted as "Wanted": "Which block." {
    height: "Height of the block that they are for.",
}}

describe! { asked submission::Wanted as "Submission": "How to answer." {
    brief: "Name only what was rejected, and count the others; `false` if not given.",
}}

describe! { asked FaucetBody as "FaucetRequest": "What a faucet is asked for." {
    address as AnyAddress: "Whom to pay.",
    amount: "How much.",
}}
