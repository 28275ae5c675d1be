//! Data for one reader on a chain that everybody reads: a payment whose memo is sealed to the
//! recipient's key.
//!
//! Sender, recipient, amount, and that there is a sealed memo are public. What it says is not.
//!
//! ```text
//! $ cargo run --release --package dsc-examples --example sealed_memo
//! the chain carries 512 bytes that begin with 93647363
//! Bob reads: the berth is booked from 1 May
//! Carol reads: ...
//! copied into a payment of Carol's, Bob reads: ...
//! ```

use dsc_lib::{
    codec,
    keys::SecretKey,
    seal,
    testing::{self, ALICE, BOB, CAROL, address, coins},
    transaction::{Draft, Transaction},
    units::Amount,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

const TEXT: &[u8] = b"the berth is booked from 1 May";

fn main() -> anyhow::Result<()> {
    let chain = testing::chain().hash();
    // The library draws no entropy: a program seeds this from the operating system.
    let mut entropy = ChaCha20Rng::seed_from_u64(1);
    let memo = seal::seal(TEXT, BOB.public(), &chain, &address(&ALICE), &mut entropy)?;
    let draft = testing::draft(0, address(&BOB), coins(1), Amount::ZERO);
    let payment = Draft { memo, ..draft.clone() }.sign(&chain, &ALICE);

    // What everybody sees.
    let public: Transaction = codec::decode(&codec::encode(&payment))?;
    let (len, head) = (public.memo.len(), hex::encode(&public.memo[..4]));
    println!("the chain carries {len} bytes that begin with {head}");
    println!("Bob reads: {}", read(&public, &BOB));
    println!("Carol reads: {}", read(&public, &CAROL));

    // The seal is bound to who sent it: a copy in somebody else's payment does not open.
    let copied = Draft { memo: public.memo, ..draft }.sign(&chain, &CAROL);
    println!("copied into a payment of Carol's, Bob reads: {}", read(&copied, &BOB));
    Ok(())
}

/// What the holder of `key` reads in a payment.
fn read(payment: &Transaction, key: &SecretKey) -> String {
    let chain = testing::chain().hash();
    match seal::open(&payment.memo, key, &chain, &payment.sender.address()) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => format!("nothing: {error}"),
    }
}
