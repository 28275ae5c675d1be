//! Roles over a transport of one's own: a thread each, channels between them, and every fourth
//! message lost on purpose.
//!
//! A role says what to ask ([`Call`]) and takes the [`Answer`], or hears that it was [`Lost`] and asks
//! again. So a transport needs no promises: it may lose, repeat and delay.
//!
//! ```text
//! $ cargo run --release --package dsc-examples --example custom_transport
//! ... calls, ... of them lost
//! confirmed at height ... and proved; Carol has 12 coins
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use dsc_lib::{
    genesis::{Chain, Genesis},
    ledger::Ledger,
    mempool::Limits,
    role::{
        Active, Answer, Call, Lost, Next,
        blockchain::Blockchain,
        metronome::{LastSigned, Metronome, Settings},
        pool::Pool,
        wallet::{End, Order, Payment},
    },
    testing::{self, ALICE, CAROL, METRONOME, address, coins},
    transaction::{Memo, Payments},
    units::{Amount, Millis},
};

/// Time between blocks.
const INTERVAL: Millis = Millis(50);
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a thread waits for a request before it looks at its role again.
const LOOK: Duration = Duration::from_millis(5);

/// A call, and where its answer goes.
type Request = (Call, Sender<Answer>);

/// The transport: who is asked what, and what is lost on the way.
#[derive(Clone)]
struct Wire {
    blockchain: Sender<Request>,
    pool: Sender<Request>,
    calls: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    start: Instant,
    genesis: Millis,
}

impl Wire {
    /// Carries a call and waits for the answer.
    fn carry(&self, call: &Call) -> Result<Answer, Lost> {
        let to = match call {
            Call::SubmitTransactions(_)
            | Call::Take(_)
            | Call::PoolStatus(_)
            | Call::NextSequence(_) => &self.pool,
            _ => &self.blockchain,
        };
        let (sender, answer) = mpsc::channel();
        to.send((call.clone(), sender)).map_err(Lost::new)?;
        let answer = answer.recv_timeout(PATIENCE).map_err(Lost::new)?;
        // The harder case: it was done, and nobody hears of it.
        if self.calls.fetch_add(1, Ordering::Relaxed) % 4 == 3 {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Err(Lost::new("dropped on purpose"));
        }
        Ok(answer)
    }

    fn now(&self) -> Millis {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.genesis.plus(Millis(passed))
    }
}

/// Lets a role do all it wants to do now.
fn step(role: &mut impl Active, wire: &Wire) {
    loop {
        match role.next(wire.now()) {
            Next::Call(call) => role.answer(wire.now(), wire.carry(&call)),
            Next::Work(work) => role.finish(wire.now(), work.run()),
            _ => return,
        }
    }
}

/// Serves requests until everybody who could make one is gone, and between them does `idle`.
fn serve<R>(
    role: &mut R,
    requests: &Receiver<Request>,
    answer: impl Fn(&mut R, Call) -> anyhow::Result<Answer>,
    mut idle: impl FnMut(&mut R),
) -> anyhow::Result<()> {
    loop {
        idle(role);
        match requests.recv_timeout(LOOK) {
            // Who asked may have lost patience.
            Ok((call, sender)) => drop(sender.send(answer(role, call)?)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn blockchain(role: &mut Blockchain, call: Call) -> anyhow::Result<Answer> {
    Ok(match call {
        Call::Snapshot => Answer::Snapshot(role.snapshot()?),
        Call::Blocks { from, .. } => Answer::Blocks(role.blocks(from)?),
        Call::SubmitBlock(bytes) => Answer::BlockAccepted(role.submit(&bytes)?),
        Call::ChainInfo => Answer::ChainInfo(Box::new(role.info()?)),
        Call::Inclusion(sought) => Answer::Inclusion(role.inclusion(&sought.id)?.map(Box::new)),
        Call::Account(address) => Answer::Account(role.account_at(&address)),
        other => anyhow::bail!("a blockchain server does not answer {other:?}"),
    })
}

fn pool(role: &mut Pool, call: Call) -> anyhow::Result<Answer> {
    Ok(match call {
        Call::SubmitTransactions(transactions) => {
            let chain = role.replica().state().chain().hash();
            let check = |encoded: &dsc_lib::transaction::Encoded| encoded.decode().check(&chain);
            let checked = transactions.iter().map(check).collect::<Result<Vec<_>, _>>()?;
            let outcomes = checked.into_iter().map(|checked| role.submit(Arc::new(checked)));
            Answer::TransactionsSubmitted(outcomes.collect())
        }
        Call::Take(height) => {
            let taken = role.take(height);
            Answer::Transactions(taken.iter().map(|taken| taken.encoded().clone()).collect())
        }
        Call::PoolStatus(id) => Answer::PoolStatus(role.status(&id)),
        Call::NextSequence(address) => Answer::NextSequence(role.next_sequence(&address)),
        other => anyhow::bail!("a pool does not answer {other:?}"),
    })
}

fn main() -> anyhow::Result<()> {
    let chain = Genesis { interval: INTERVAL, ..testing::genesis() }.check()?;
    let (to_blockchain, blockchain_requests) = mpsc::channel();
    let (to_pool, pool_requests) = mpsc::channel();
    let wire = Wire {
        blockchain: to_blockchain,
        pool: to_pool,
        calls: Arc::default(),
        lost: Arc::default(),
        start: Instant::now(),
        genesis: chain.genesis().time,
    };
    let mut ledger = Blockchain::new(Ledger::in_memory(chain.clone()));
    let mut held = Pool::new(chain.clone(), Limits::default());
    let stop = AtomicBool::new(false);
    // A pool that held a way to itself would wait for its own requests for ever.
    let follow = Wire { pool: mpsc::channel().0, ..wire.clone() };
    let (beat, metronome) = (wire.clone(), metronome(&chain));
    let (own_ledger, stop) = (&mut ledger, &stop);
    let end = thread::scope(|scope| {
        scope.spawn(move || serve(own_ledger, &blockchain_requests, blockchain, |_| ()));
        scope.spawn(move || serve(&mut held, &pool_requests, pool, |pool| step(pool, &follow)));
        scope.spawn(move || tick(metronome, &beat, stop));
        let end = pay(&chain, &wire);
        stop.store(true, Ordering::Relaxed);
        let (calls, lost) = (&wire.calls, &wire.lost);
        let [calls, lost] = [calls, lost].map(|count| count.load(Ordering::Relaxed));
        println!("{calls} calls, {lost} of them lost");
        // The servers end when nobody is left who could ask them.
        drop(wire);
        end
    })?;
    let End::Confirmed { height } = end else { anyhow::bail!("the payment ended: {end:?}") };
    let balance = ledger.account(&address(&CAROL)).balance;
    anyhow::ensure!(balance == coins(12), "Carol has {balance} coins");
    println!("confirmed at height {height} and proved; Carol has {balance} coins");
    Ok(())
}

fn metronome(chain: &Chain) -> Metronome {
    let settings = Settings { key: METRONOME.clone(), epoch: 0, interval: INTERVAL, running: true };
    let signed = LastSigned::in_memory(chain, &METRONOME.public().address());
    Metronome::new(chain.clone(), settings, signed)
}

fn tick(mut metronome: Metronome, wire: &Wire, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        step(&mut metronome, wire);
        thread::sleep(LOOK);
    }
}

/// The wallet: pays, and waits until the payment is proved to be in a block.
fn pay(chain: &Chain, wire: &Wire) -> anyhow::Result<End> {
    let to = dsc_lib::transaction::Payment { to: address(&CAROL), amount: coins(12) };
    let order = Order {
        payments: Payments::new(vec![to])?,
        fee: Amount::ZERO,
        memo: Memo::default(),
        lifetime: 1_000,
        confirmations: 2,
    };
    let mut payment = Payment::new(chain.clone(), ALICE.clone(), order);
    while payment.end().is_none() && wire.start.elapsed() < PATIENCE {
        step(&mut payment, wire);
        thread::sleep(LOOK);
    }
    payment.end().cloned().with_context(|| format!("still on its way: {:?}", payment.fault()))
}
