//! A client that keeps no chain: given a genesis it trusts and a proof of inclusion as JSON, it
//! knows whether a payment is in a block, and believes nobody else.
//!
//! Takes the files that `dsc chain genesis` and `dsc block proof` write; without them it makes a
//! small chain with one payment first.
//!
//! ```text
//! $ cargo run --release --package dsc-examples --example light_client
//! chain ... of network test-1
//! payment ... of 12 coins is in block 0, signed by metronome ...
//! said to have 1 confirmations: the tip is claimed, not proved
//! another amount: ...
//! another header: ...
//! another chain: ...
//! ```

use std::{env, fs};

use anyhow::Context as _;
use dsc_lib::{
    codec,
    genesis::{Chain, Genesis},
    ledger::Ledger,
    role::blockchain::{Blockchain, Inclusion},
    testing::{self, ALICE, BOB, address, next_block, pay},
    transaction::{Transaction, TransactionId},
    units::Millis,
};
use serde::Deserialize;

/// The file of `dsc block proof`.
#[derive(Deserialize)]
struct File {
    inclusion: Inclusion,
}

fn main() -> anyhow::Result<()> {
    let (genesis, inclusion) = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [genesis, proof] => (fs::read_to_string(genesis)?, fs::read_to_string(proof)?),
        _ => sample()?,
    };
    // Its hash names the chain: compare it with one from a source that you trust.
    let chain = serde_json::from_str::<Genesis>(&genesis)?.check()?;
    println!("chain {} of network {}", chain.hash(), chain.network());
    let File { inclusion } = serde_json::from_str(&inclusion)?;
    let id = accept(&chain, &inclusion)?;
    refuse(&chain, &inclusion, &id)
}

/// Checks the signature of the header, the path to its root, and the transaction itself.
fn accept(chain: &Chain, inclusion: &Inclusion) -> anyhow::Result<TransactionId> {
    let transaction: Transaction = codec::decode(&inclusion.transaction)?;
    let id = transaction.id(&chain.hash());
    inclusion.verify(chain, &id)?;
    let coins = transaction.payments.first().context("there is a payment")?.amount;
    let header = &inclusion.header;
    println!(
        "payment {id} of {coins} coins is in block {}, signed by metronome {}",
        header.height,
        header.metronome.to_text(chain.prefix())
    );
    let confirmations = inclusion.tip.0 + 1 - header.height.0;
    println!("said to have {confirmations} confirmations: the tip is claimed, not proved");
    Ok(id)
}

fn refuse(chain: &Chain, good: &Inclusion, id: &TransactionId) -> anyhow::Result<()> {
    let mut forged = good.clone();
    let mut transaction: Transaction = codec::decode(&good.transaction)?;
    transaction.fee = testing::coins(2);
    forged.transaction = codec::encode(&transaction);
    println!("another amount: {}", forged.verify(chain, id).unwrap_err());
    let mut forged = good.clone();
    forged.header.time = forged.header.time.plus(Millis(1));
    println!("another header: {}", forged.verify(chain, id).unwrap_err());
    let other = Genesis { halving: 7, ..chain.genesis().clone() }.check()?;
    println!("another chain: {}", good.verify(&other, id).unwrap_err());
    Ok(())
}

/// Genesis and proof of a chain with one block and one payment in it, as JSON.
fn sample() -> anyhow::Result<(String, String)> {
    let chain = testing::chain();
    let mut blockchain = Blockchain::new(Ledger::in_memory(chain.clone()));
    let payment = pay(&ALICE, 0, address(&BOB), 12);
    let id = payment.id(&chain.hash());
    let block = next_block(blockchain.ledger().state(), vec![], vec![payment]);
    blockchain.submit(&block.to_bytes())?;
    let inclusion = blockchain.inclusion(&id)?.context("the payment is in the block")?;
    let genesis = serde_json::to_string(chain.genesis())?;
    Ok((genesis, serde_json::json!({ "inclusion": inclusion }).to_string()))
}
