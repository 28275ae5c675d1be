//! Honest clients of every role, who ask while an attack is under way and note every answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use dsc_cli::http::{Client, ClientError};
use dsc_lib::{
    role::{
        blockchain::Info,
        metronome::{OpenRound, Status},
        monitor::Report,
        pool::Outcome,
    },
    testing::address,
    transaction::TransactionId,
};
use serde_json::Value;

use crate::network::{ACCOUNTS, BALANCE, Network, PATIENCE, client, listed};

/// Pause between two requests of one client.
const PAUSE: Duration = Duration::from_millis(10);
/// Requests after which a client connects anew.
const REQUESTS_PER_CONNECTION: u64 = 10;
/// What an honest payment offers; who floods the pool offers less.
pub(crate) const FEE: u64 = 1_000_000;

/// What honest clients noted.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// How long each answer took, refusals for want of room before it included.
    pub(crate) times: Vec<Duration>,
    /// How often there was no room at first.
    pub(crate) busy: u64,
    /// Answers that were wrong, or none.
    pub(crate) faults: Vec<String>,
    /// What was paid.
    pub(crate) paid: Vec<TransactionId>,
}

impl Notes {
    /// Asks, again if there is no room at first, and notes the time and what was wrong.
    fn ask<T>(&mut self, ask: impl Fn() -> Result<T, ClientError>) -> Option<T> {
        let started = Instant::now();
        loop {
            match ask() {
                Ok(answer) => {
                    self.times.push(started.elapsed());
                    return Some(answer);
                }
                Err(error) if is_busy(&error) && started.elapsed() < PATIENCE => {
                    self.busy += 1;
                    thread::sleep(PAUSE);
                }
                Err(error) => {
                    self.faults.push(error.to_string());
                    return None;
                }
            }
        }
    }

    fn check(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(fault());
        }
    }

    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.busy += other.busy;
        self.faults.extend(other.faults);
        self.paid.extend(other.paid);
    }
}

/// Whether a role says that it has no room now, and when it may be asked again.
fn is_busy(error: &ClientError) -> bool {
    let ClientError::Problem(problem) = error else { return false };
    matches!(problem.status, 429 | 503) && problem.retry_after.is_some()
}

/// Clients at work.
pub(crate) struct Honest {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Notes>>,
}

impl Honest {
    pub(crate) fn start(network: &Network) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let clients = vec![
            asking(&is_over, client(&network.blockchain), tips(network)),
            asking(&is_over, client(&network.blockchain), balances),
            asking(&is_over, client(&network.pool), payments(network)),
            asking(&is_over, client(&network.metronome), statuses),
            asking(&is_over, client(&network.metronome), rounds(network)),
            asking(&is_over, client(&network.monitor), reports),
        ];
        Self { is_over, clients }
    }

    /// Ends the clients and collects what they noted.
    pub(crate) fn stop(self) -> Notes {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Notes::default();
        self.clients.into_iter().for_each(|client| all.add(client.join().unwrap()));
        all
    }
}

/// A client that asks until it is over, each time on a new connection after a few requests.
fn asking(
    is_over: &Arc<AtomicBool>,
    first: Client,
    mut ask: impl FnMut(&Client, &mut Notes) + Send + 'static,
) -> JoinHandle<Notes> {
    let is_over = is_over.clone();
    thread::spawn(move || {
        let (mut client, mut notes, mut count) = (first, Notes::default(), 0);
        loop {
            ask(&client, &mut notes);
            if is_over.load(Ordering::Relaxed) {
                return notes;
            }
            count += 1;
            if count % REQUESTS_PER_CONNECTION == 0 {
                client = Client::new(client.base(), PATIENCE, PATIENCE, 1 << 20).unwrap();
            }
            thread::sleep(PAUSE);
        }
    })
}

/// Reads the tip, which never goes back.
fn tips(network: &Network) -> impl FnMut(&Client, &mut Notes) + Send + 'static {
    let (chain, mut last) = (network.hash(), network.info().height);
    move |client, notes| {
        let Some(info) = notes.ask(|| client.get_json::<Info>("/v1/info")) else { return };
        let is_right = info.chain == chain && info.height >= last;
        notes.check(is_right, || format!("height {:?} after {last:?}", info.height));
        last = info.height;
    }
}

/// Reads the balance of an account that nobody pays to or from.
fn balances(client: &Client, notes: &mut Notes) {
    let path = format!("/v1/accounts/{}", address(&ACCOUNTS[7]));
    let Some(account) = notes.ask(|| client.get_json::<Value>(&path)) else { return };
    notes.check(account["balance"] == BALANCE.to_string(), || format!("balance {account}"));
}

/// Pays, one after the other.
fn payments(network: &Network) -> impl FnMut(&Client, &mut Notes) + Send + 'static {
    let mut sequence = network.sequence(&ACCOUNTS[0]);
    let (pay, to) = (network.payer(&ACCOUNTS[0]), address(&ACCOUNTS[1]));
    move |client, notes| {
        let (id, transaction) = pay(sequence, to, 1, FEE);
        let list = listed(&[transaction]);
        let send = || client.submit_bytes::<Vec<Outcome>>("/v1/transactions", &list);
        let Some(outcomes) = notes.ask(send) else { return };
        sequence += 1;
        let is_held = matches!(outcomes[..], [Outcome::Added { .. }]);
        notes.check(is_held, || format!("a payment was {outcomes:?}"));
        notes.paid.push(id);
    }
}

fn statuses(client: &Client, notes: &mut Notes) {
    let Some(status) = notes.ask(|| client.get_json::<Status>("/v1/status")) else { return };
    notes.check(status.interval.0 == 250, || format!("interval {}", status.interval));
}

/// Looks at the round, then waits for another; how long that takes is the metronome's to say.
fn rounds(network: &Network) -> impl FnMut(&Client, &mut Notes) + Send + 'static {
    let mut last = network.height();
    move |client, notes| {
        type Open = Option<OpenRound>;
        let known = notes.ask(|| client.get_json::<Open>("/v1/round")).flatten();
        let mut waiting = Notes::default();
        let after = known.map_or(last, |round| round.height);
        let path = format!("/v1/round?after={after}&wait=500");
        let next = waiting.ask(|| client.get_json::<Open>(&path)).flatten();
        waiting.times.clear();
        notes.add(waiting);
        let height = next.map_or(after, |round| round.height);
        notes.check(height >= last, || format!("round {height} after {last}"));
        last = height;
    }
}

fn reports(client: &Client, notes: &mut Notes) {
    let Some(report) = notes.ask(|| client.get_json::<Report>("/v1/report")) else { return };
    notes.check(report.chain.is_some(), || format!("no chain: {:?}", report.faults));
}
