//! A whole chain in one thread, for tests of what stands on it: a minute of blocks in a moment.
//!
//! The roles are state machines: this program is their transport and their clock. Blockchain, pool
//! and metronome answer at once, a validator for each engine proves, a wallet pays.
//!
//! ```text
//! $ cargo run --release --package dsc-examples --example chain_in_process
//! work: ... blocks
//! space: ... blocks
//! memory: ... blocks
//! none: ... blocks
//! payment confirmed at height ... and proved; Carol has 12 coins
//! replayed 60 blocks, state ...
//! ```

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use dsc_lib::{
    genesis::Chain,
    ledger::Ledger,
    mempool::Limits,
    proof::{ENGINES, Entry, Fingerprint, Miner, NoProgress, Prover, Resources},
    role::{
        Active, Answer, Call, Lost, Next, Refusal,
        blockchain::Blockchain,
        metronome::{LastSigned, Metronome, Settings},
        pool::Pool,
        validator::{Step, Validator},
        wallet::{End, Order, Payment},
    },
    testing::{self, ALICE, CAROL, METRONOME, MINER, Unhurried, address, coins},
    transaction::{Encoded, Memo, Payments},
    units::{Amount, Height, Millis},
};

const BLOCKS: u64 = 60;
/// Virtual time between two looks at every role.
const STEP: Millis = Millis(50);

/// The served roles.
struct Servers {
    blockchain: Blockchain,
    pool: Pool,
    metronome: Metronome,
}

/// A validator with the prover that its steps ask for.
struct Worker {
    validator: Validator,
    prover: Box<dyn Prover>,
}

fn main() -> anyhow::Result<()> {
    let chain = testing::chain();
    let folder = tempfile::tempdir()?;
    let mut servers = Servers::new(&chain);
    let mut workers = workers(&chain, &Resources { threads: 1, ..Resources::new(folder.path()) })?;
    let mut payment = payment(&chain)?;
    let mut now = chain.genesis().time;
    while servers.height() < BLOCKS {
        now = now.plus(STEP);
        servers.run(now)?;
        drive(&mut payment, now, |call| servers.serve(now, call))?;
        for worker in &mut workers {
            worker.run(now, &mut servers)?;
        }
    }
    report(&servers, &payment)
}

impl Servers {
    fn new(chain: &Chain) -> Self {
        let interval = chain.genesis().interval;
        let settings = Settings { key: METRONOME.clone(), epoch: 0, interval, running: true };
        // Without a disk: gone with the process, as this ledger is.
        let signed = LastSigned::in_memory(chain, &METRONOME.public().address());
        Self {
            blockchain: Blockchain::new(Ledger::in_memory(chain.clone())),
            pool: Pool::new(chain.clone(), Limits::default()),
            metronome: Metronome::new(chain.clone(), settings, signed),
        }
    }

    fn height(&self) -> u64 {
        self.blockchain.ledger().state().round().height.0
    }

    /// Lets pool and metronome make their own calls.
    fn run(&mut self, now: Millis) -> anyhow::Result<()> {
        loop {
            match self.pool.next(now) {
                Next::Call(call) => {
                    let answer = self.serve(now, &call)?;
                    self.pool.answer(now, Ok(answer));
                }
                Next::Work(work) => self.pool.finish(now, work.run()),
                _ => break,
            }
        }
        loop {
            match self.metronome.next(now) {
                Next::Call(call) => {
                    let answer = self.serve(now, &call)?;
                    self.metronome.answer(now, Ok(answer));
                }
                Next::Work(work) => self.metronome.finish(now, work.run()),
                _ => return Ok(()),
            }
        }
    }

    /// What a transport does: finds the role that a call is for.
    fn serve(&mut self, now: Millis, call: &Call) -> anyhow::Result<Answer> {
        Ok(match call {
            Call::Snapshot => Answer::Snapshot(self.blockchain.snapshot()?),
            Call::Blocks { from, .. } => Answer::Blocks(self.blockchain.blocks(*from)?),
            Call::SubmitBlock(bytes) => Answer::BlockAccepted(self.blockchain.submit(bytes)?),
            Call::ChainInfo => Answer::ChainInfo(Box::new(self.blockchain.info()?)),
            Call::Inclusion(sought) => {
                Answer::Inclusion(self.blockchain.inclusion(&sought.id)?.map(Box::new))
            }
            Call::Account(address) => Answer::Account(self.blockchain.account_at(address)),
            Call::SubmitTransactions(transactions) => self.submit(transactions)?,
            Call::Take(height) => self.take(*height),
            Call::PoolStatus(id) => Answer::PoolStatus(self.pool.status(id)),
            Call::NextSequence(address) => Answer::NextSequence(self.pool.next_sequence(address)),
            Call::Round { after, challenge, .. } => {
                Answer::Round(self.metronome.round_other_than(now, *after, *challenge))
            }
            Call::HandIn(hand_in) => refused_or(self.metronome.hand_in(now, hand_in)),
            other => anyhow::bail!("nobody here answers {other:?}"),
        })
    }

    fn submit(&mut self, transactions: &[Encoded]) -> anyhow::Result<Answer> {
        let chain = self.blockchain.ledger().state().chain().hash();
        let mut outcomes = Vec::new();
        for transaction in transactions {
            outcomes.push(self.pool.submit(Arc::new(transaction.decode().check(&chain)?)));
        }
        Ok(Answer::TransactionsSubmitted(outcomes))
    }

    fn take(&mut self, height: Height) -> Answer {
        let taken = self.pool.take(height);
        Answer::Transactions(taken.iter().map(|taken| taken.encoded().clone()).collect())
    }
}

fn refused_or(result: Result<dsc_lib::role::metronome::Receipt, Refusal>) -> Answer {
    result.map_or_else(Answer::Refused, Answer::HandedIn)
}

/// Makes the calls of a role until it waits.
fn drive(
    role: &mut impl Active,
    now: Millis,
    mut carry: impl FnMut(&Call) -> anyhow::Result<Answer>,
) -> anyhow::Result<()> {
    while let Next::Call(call) = role.next(now) {
        role.answer(now, Ok(carry(&call)?));
    }
    Ok(())
}

/// A validator for each engine; all pay the same owner.
fn workers(chain: &Chain, resources: &Resources) -> anyhow::Result<Vec<Worker>> {
    let worker = |entry: &&Entry| {
        let fingerprint = Fingerprint([entry.kind.index(); 16]);
        let miner = Miner { address: address(&MINER), fingerprint };
        let engine = chain.engine(entry.kind).context("the chain has every engine")?;
        let prover = engine.prepare(&miner, resources, &NoProgress)?;
        Ok(Worker { validator: Validator::new(miner, entry.kind), prover })
    };
    ENGINES.iter().map(worker).collect()
}

impl Worker {
    fn run(&mut self, now: Millis, servers: &mut Servers) -> anyhow::Result<()> {
        loop {
            match self.validator.next(now) {
                Step::Call(call) => {
                    let answer = servers.serve(now, &call).map_err(Lost::new);
                    self.validator.answer(now, answer);
                }
                Step::Prove(job) => {
                    let free = Unhurried::default();
                    let attempt = self.prover.prove(&job.challenge, job.target, &free.budget())?;
                    self.validator.proved(Millis(0), attempt, self.prover.footprint());
                }
                _ => return Ok(()),
            }
        }
    }
}

fn payment(chain: &Chain) -> anyhow::Result<Payment> {
    let to = dsc_lib::transaction::Payment { to: address(&CAROL), amount: coins(12) };
    let order = Order {
        payments: Payments::new(vec![to])?,
        fee: Amount::from_units(1),
        memo: Memo::default(),
        lifetime: 20,
        confirmations: 3,
    };
    Ok(Payment::new(chain.clone(), ALICE.clone(), order))
}

fn report(servers: &Servers, payment: &Payment) -> anyhow::Result<()> {
    let info = servers.blockchain.info()?;
    for (entry, wins) in ENGINES.iter().zip(info.wins.by_engine()) {
        println!("{}: {wins} blocks", entry.name);
    }
    println!("none: {} blocks", info.wins.none());
    let Some(End::Confirmed { height }) = payment.end() else {
        anyhow::bail!("the payment did not end well: {payment:?}");
    };
    println!("payment confirmed at height {height} and proved; Carol has {} coins", coins(12));
    let state = servers.blockchain.ledger().state();
    ensure!(state.account(&address(&CAROL)).balance == coins(12), "Carol's balance is wrong");
    ensure!(state.supply_holds(), "coins were made or lost");
    servers.blockchain.ledger().verify(|_, _| {})?;
    println!("replayed {} blocks, state {}", BLOCKS, info.state);
    Ok(())
}
