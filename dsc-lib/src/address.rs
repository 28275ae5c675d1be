//! The 32-byte name of an account.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The owner of coins and of proofs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Address(#[serde(with = "hex::serde")] pub [u8; 32]);
