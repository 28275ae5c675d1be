//! A steady stream of payments between the accounts of `dsc dev`.

use std::{sync::Arc, thread, time::Duration};

use dsc_lib::{
    genesis::Chain,
    hash::{Context, derive},
    keys::SecretKey,
    role::{Answer, Call, pool::Outcome},
    transaction::{Draft, Encoded, Memo, Payment, Payments},
    units::{Amount, Height},
};

use crate::{
    exit::Failure,
    role::{spawn, transport::Transport},
    shutdown::Shutdown,
};

/// Time between two submissions.
const PAUSE: Duration = Duration::from_millis(100);
/// Payments in a submission.
const BATCH: usize = 8;
/// Heights within which a payment must get onto the ledger.
const LIFETIME: u64 = 100;
const FEE: Amount = Amount::from_units(10_000);

/// The running stream.
pub(super) struct Demo(thread::JoinHandle<()>);

impl Demo {
    pub(super) fn start(
        seed: u64,
        chain: Chain,
        accounts: Vec<SecretKey>,
        transport: Transport,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        let next = vec![None; accounts.len()];
        let mut payer = Payer { chain, accounts, transport, next, seed, made: 0 };
        Ok(Self(spawn("demo", move || payer.run(&shutdown))?))
    }

    pub(super) fn join(self) {
        // The thread's panic was reported when it happened.
        drop(self.0.join());
    }
}

struct Payer {
    chain: Chain,
    accounts: Vec<SecretKey>,
    transport: Transport,
    /// The next sequence of each account, and the height it was asked at; asked when unknown.
    next: Vec<Option<(u64, Height)>>,
    seed: u64,
    made: u64,
}

impl Payer {
    fn run(&mut self, shutdown: &Shutdown) {
        while !self.accounts.is_empty() && !shutdown.sleep(PAUSE) {
            let batch: Vec<_> = (0..BATCH).filter_map(|_| self.payment()).collect();
            if !batch.is_empty() {
                self.submit(batch);
            }
        }
    }

    /// A number that depends on the seed and the payments made so far alone.
    fn random(&mut self, below: u64) -> u64 {
        self.made = self.made.wrapping_add(1);
        let parts = [&self.seed.to_le_bytes()[..], &self.made.to_le_bytes()];
        derive(Context::State, &parts).first64() % below.max(1)
    }

    fn any_account(&mut self) -> usize {
        let count = self.accounts.len() as u64;
        usize::try_from(self.random(count)).unwrap_or(0)
    }

    fn payment(&mut self) -> Option<Encoded> {
        let (from, to) = (self.any_account(), self.any_account());
        let amount = Amount::from_units(1 + self.random(500_000_000));
        let (sequence, height) = self.sequence(from)?;
        let to = self.accounts[to].public().address();
        let draft = Draft {
            sequence,
            expires: Height(height.0.saturating_add(LIFETIME)),
            fee: FEE,
            payments: Payments::new(vec![Payment { to, amount }]).ok()?,
            memo: Memo::new(b"demo".to_vec()).ok()?,
        };
        self.next[from] = Some((sequence.saturating_add(1), height));
        Some(draft.sign(&self.chain.hash(), &self.accounts[from]).into())
    }

    fn sequence(&mut self, account: usize) -> Option<(u64, Height)> {
        if self.next[account].is_none() {
            let address = self.accounts[account].public().address();
            let answer = self.transport.call(&Call::NextSequence(address));
            let Ok(Answer::NextSequence(next)) = answer else { return None };
            self.next[account] = Some((next.sequence, next.height));
        }
        self.next[account]
    }

    /// Submits; if anything but success comes back, the sequences are asked anew.
    fn submit(&mut self, batch: Vec<Encoded>) {
        let answer = self.transport.call(&Call::SubmitTransactions(Arc::new(batch)));
        let held = |outcome: &Outcome| !matches!(outcome, Outcome::Rejected { .. });
        let all_held = match &answer {
            Ok(Answer::TransactionsSubmitted(outcomes)) => outcomes.iter().all(held),
            _ => false,
        };
        // Heights grow old as well: ask now and then, so that payments do not expire unseen.
        if !all_held || self.made % 1024 < 24 {
            self.next.fill(None);
        }
    }
}
