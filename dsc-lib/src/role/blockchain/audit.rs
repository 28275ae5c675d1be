//! Whether the balances on disk add up to the coins issued.
//!
//! # Invariants
//!
//! 1. An audit reads the store alone, as it is at one block: it holds neither the role nor its state,
//!    so that no block waits for it. While it runs it takes RAM for a map of every account (some 100
//!    bytes each).
//! 2. It trusts no sum that was kept: balances are read one by one, coins issued come from genesis,
//!    rewards and burned fees.

use serde::{Deserialize, Serialize};

use crate::{
    ledger::{Balances, StoreError},
    units::{Amount, Height},
};

/// What an audit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The last block it counts; nothing before the first.
    pub height: Option<Height>,
    /// All balances together; nothing if they are more than an amount can hold.
    pub balances: Option<Amount>,
    /// Coins issued: those of the genesis, and rewards, less burned fees.
    pub issued: Amount,
    /// Whether the two are the same.
    pub holds: bool,
}

/// An audit to be made, of the block that was the last when it was begun.
#[derive(Debug)]
#[must_use = "nothing is audited yet"]
pub struct Auditing {
    pub(super) height: Option<Height>,
    pub(super) issued: Amount,
    pub(super) balances: Balances,
}

impl Auditing {
    /// Reads every balance; that takes long, and needs nothing of the role.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn run(self) -> Result<Audit, StoreError> {
        let Self { height, issued, balances } = self;
        let balances = balances.sum()?;
        Ok(Audit { height, balances, issued, holds: balances == Some(issued) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Blockchain;
    use crate::{
        ledger::Ledger,
        testing::{ALICE, BOB, address, chain, next_block, pay},
        units::{Amount, Height},
    };

    #[test]
    fn the_balances_of_the_block_it_was_begun_at_are_counted() {
        let mut server = Blockchain::new(Ledger::in_memory(chain()));
        let first = server.audit();
        for sequence in 0..3 {
            let payment = pay(&ALICE, sequence, address(&BOB), 1);
            let block = next_block(server.ledger().state(), vec![], vec![payment]);
            server.submit(&block.to_bytes()).unwrap();
        }
        let then = server.audit();
        let begun = first.run().unwrap();
        assert_eq!((begun.height, begun.holds, begun.issued), (None, true, chain().endowed()));
        server.archive().flush().unwrap();
        let found = then.run().unwrap();
        assert_eq!((found.height, found.holds), (Some(Height(2)), true));
        assert_eq!(found.balances, Some(server.ledger().state().supply()));
    }

    #[test]
    fn a_sum_that_is_another_does_not_hold() {
        let server = Blockchain::new(Ledger::in_memory(chain()));
        let mut wrong = server.audit();
        wrong.issued = Amount::from_units(wrong.issued.units() + 1);
        assert!(!wrong.run().unwrap().holds);
    }
}
