//! The routes of a blockchain server, and what each is for.

use dsc_lib::{
    hash::Digest,
    role::blockchain::{Accepted, Audit, Equivocation, Inclusion, Info, Summary},
};

use super::{
    Server, reads,
    reads::{AccountView, Below, From, Page, Part, Record, Since},
    submit,
};
use crate::{
    http::openapi::{Group, Operation, Outline, Routes, describe},
    role::{
        describe::{BlockName, Hex},
        view::{BlockView, EventView, LocatedView},
    },
};

const ABOUT: &str = "Keeps the ledger and serves it. Port 7701 unless told otherwise. Nothing it \
    answers has to be believed: blocks, snapshots and inclusion proofs can be checked against the \
    genesis.";
const STORE: (u16, &str, &str) = (503, "store-failed", "this server cannot use its store");
const NOT_HERE: (u16, &str, &str) =
    (404, "not-here", "this server began at a snapshot after that height");
const WHICH: &str = "A height, a block hash, or `tip` for the last block.";

/// Every route.
pub(crate) fn outline() -> Outline<Server> {
    let bulk = Routes::new().post("/v1/blocks", submit::submit, submit_block());
    let waiting = Routes::new().get("/v1/blocks", reads::blocks, blocks()).get(
        "/v1/confirmed",
        reads::confirmed,
        confirmed(),
    );
    Outline::new("blockchain", ABOUT)
        .add(
            Group::Quick,
            chain().get("/v1/accounts/{address}", reads::account, account()).get(
                "/v1/accounts/{address}/transactions",
                reads::history,
                history(),
            ),
        )
        .add(Group::Bulk, bulk)
        .add(Group::Waiting, waiting)
        .each(super::headers::described)
}

fn chain() -> Routes<Server> {
    Routes::new()
        .get("/v1/info", reads::info, info())
        .get("/v1/genesis", reads::chain_genesis, crate::role::openapi::genesis())
        .get("/v1/snapshot", reads::snapshot, snapshot())
        .get("/v1/summaries", reads::summaries, summaries())
        .get("/v1/audit", reads::audit, audit())
        .get("/v1/transactions/{id}/record", reads::record, record())
        .get("/v1/blocks/{which}", reads::block, block())
        .get("/v1/blocks/{which}/raw", reads::raw_block, raw_block())
        .get("/v1/transactions/{id}", reads::transaction, transaction())
        .get("/v1/transactions/{id}/proof", reads::inclusion, inclusion())
        .get("/v1/equivocations", reads::equivocations, equivocations())
}

/// A route that reads the store.
fn reading(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary).fault(STORE.0, STORE.1, STORE.2)
}

fn info() -> Operation {
    reading("info", "Where the ledger stands").json::<Info>("The tip, and what comes next.")
}

fn equivocations() -> Operation {
    Operation::new("equivocations", "Metronomes that signed two blocks of one height")
        .about("Each proves itself to whoever knows the genesis; at most 64 are kept.")
        .json::<Vec<Equivocation>>("In the order in which they were seen.")
}

fn snapshot() -> Operation {
    reading("snapshot", "All accounts at the tip")
        .about("Check it against the state commitment of the tip, and the tip's signature.")
        .binary("A snapshot: header and proofs of the tip, and every account.")
}

fn summaries() -> Operation {
    reading("summaries", "Blocks at a glance")
        .about("Newest first. Fewer than asked for are answered if older ones are large.")
        .query::<Below>()
        .json::<Vec<Summary>>("The blocks below a height.")
}

fn audit() -> Operation {
    Operation::new("audit", "Whether the balances add up")
        .about(
            "Adds up every balance on disk and compares the sum with the coins issued, beside the \
             blocks that come meanwhile. Answers what was found last, and begins again if that is old.",
        )
        .json::<Option<Audit>>("What was found last; null while the first one is not done.")
}

fn record() -> Operation {
    one_transaction("record", "A transaction with its place and time")
        .json::<Record>("Its bytes, and its block.")
}

fn block() -> Operation {
    one_block("block", "A block").query::<Part>().json::<BlockView>("The block.")
}

fn raw_block() -> Operation {
    one_block("rawBlock", "A block's bytes").binary("The block in the canonical encoding.")
}

fn one_block(id: &'static str, summary: &'static str) -> Operation {
    reading(id, summary)
        .path::<BlockName>("which", WHICH)
        .fault(400, "invalid-block", "the path names no block")
        .fault(400, "invalid-path", "the path is not UTF-8")
        .fault(404, "not-found", "there is no such block on the ledger")
        .fault(NOT_HERE.0, NOT_HERE.1, NOT_HERE.2)
}

fn transaction() -> Operation {
    one_transaction("transaction", "A transaction on the ledger")
        .json::<LocatedView>("Its place and content.")
}

fn inclusion() -> Operation {
    one_transaction("inclusion", "Proof that a transaction is on the ledger")
        .about("Everything that is needed to check it offline against a metronome's address.")
        .query::<Since>()
        .json::<Inclusion>("The proof.")
}

fn one_transaction(id: &'static str, summary: &'static str) -> Operation {
    reading(id, summary)
        .path::<Digest>("id", "Id of the transaction.")
        .fault(400, "invalid-id", "the id is not 64 hexadecimal digits")
        .fault(400, "invalid-path", "the path is not UTF-8")
        .fault(404, "not-found", "there is no such transaction on the ledger")
        .fault(
            404,
            NOT_HERE.1,
            "this server began at a snapshot, and it may have been confirmed before",
        )
}

fn account() -> Operation {
    crate::role::openapi::of_address("account", "Balance and sequence of an address")
        .about("An address that was never used has nothing.")
        .json::<AccountView>("The account at the tip.")
}

fn history() -> Operation {
    let history = crate::role::openapi::of_address("history", "What touched an address");
    history
        .fault(STORE.0, STORE.1, STORE.2)
        .query::<Page>()
        .json::<Vec<EventView>>("Newest first; pass the last one's place for the next page.")
}

fn blocks() -> Operation {
    reading("blocks", "Blocks from a height on")
        .about("As many as fit one answer; waits for the first one.")
        .fault(NOT_HERE.0, NOT_HERE.1, NOT_HERE.2)
        .query::<From>()
        .binary(
            "A list of encoded blocks, each as a list of bytes; empty if there is none in time.",
        )
}

fn confirmed() -> Operation {
    reading("confirmed", "Which transactions blocks confirmed")
        .about("As many blocks as fit one answer; waits for the first one.")
        .fault(NOT_HERE.0, NOT_HERE.1, NOT_HERE.2)
        .query::<From>()
        .binary(
            "A list of {height u64, time u64, hash 32, ids: list of 32}, one for each block; empty \
             if there is none in time.",
        )
}

fn submit_block() -> Operation {
    reading("submitBlock", "Put the next block on the ledger")
        .about("Answers once the block is on disk, and the same for the same block again.")
        .takes_binary("A block in the canonical encoding.")
        .json::<Accepted>("It is on disk.")
        .rules(
            "the block is not canonical (`not-canonical`), too far ahead of this machine's clock \
             (`block-ahead`), another metronome leads (`not-leader`), or it breaks another rule of \
             docs/protocol.md",
        )
        .fault(503, "engine-unavailable", "the log that the servers share cannot be reached")
        .fault(503, "unsettled", "the shared log did not say whether it has the block")
        .fault(503, "log-damaged", "the shared log is not what this server has read of it")
}

describe! { asked From as "From": "Which blocks." {
    from: "The first height wanted.",
    wait: "How long to wait for it; more than 10,000 counts as 10,000, nothing as 0.",
}}

describe! { asked Since as "Since": "From where on to look." {
    since: "The transaction is in no block below this height; 0 if not given.",
}}

describe! { asked Below as "Below": "Which blocks." {
    before: "Only those below this height; nothing: from the tip on.",
    limit: "Most blocks wanted: 50 if not given, 100 at most.",
}}

describe! { asked Part as "Part": "How much of the block." {
    limit: "Only so many of its transactions, the first ones; all if not given.",
}}

describe! { answered Record as "Record": "A transaction on the ledger." {
    height: "Height of its block.",
    index: "Its place in the block, from 0.",
    block_hash: "Hash of its block.",
    block_time: "Time of its block.",
    tip: "Height of the tip.",
    transaction as Hex: "The canonical encoding, in hexadecimal.",
}}

describe! { asked Page as "Page": "A page of a history." {
    before_height: "Only what is before this place: its height.",
    before_index: "Only what is before this place: its index; nothing counts as 0.",
    limit: "Most entries wanted: 50 if not given.",
}}

describe! { answered AccountView as "Account": "What the ledger knows of an address." {
    address: "The address.",
    balance: "Coins held.",
    sequence: "Transactions sent, and so the sequence that the next one must have.",
    height: "Height of the tip; null before the first block.",
}}
