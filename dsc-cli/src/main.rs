//! The `dsc` command.
#[allow(dead_code, reason = "the wallet commands use it")]
mod keystore;
#[allow(dead_code, reason = "the wallet commands use it")]
mod passphrase;

fn main() {}
