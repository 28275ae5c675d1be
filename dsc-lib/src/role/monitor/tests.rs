//! A monitor of a small network that is there as a value.

use std::sync::Arc;

use super::*;
use crate::{
    disk::Memory,
    genesis::Chain,
    ledger::Ledger,
    mempool::{Limits, journal::Journal},
    proof::{Fingerprint, Footprint, Miner, ProofKind},
    role::{blockchain::Blockchain, metronome::Validator, pool::Pool},
    testing::{ALICE, BOB, address, chain, checked, genesis, next_block, pay},
    transaction::TransactionId,
};

const SECOND: Millis = Millis(1000);

/// The roles that a monitor asks; those that are not there do not answer.
struct Network {
    blockchain: Option<Blockchain>,
    pool: Option<Pool>,
    status: Option<metronome::Status>,
    now: Millis,
    paid: u64,
}

impl Network {
    fn new() -> Self {
        Self::of(chain())
    }

    fn of(chain: Chain) -> Self {
        let mut pool = Pool::new(chain.clone(), Limits::default());
        let mut journal = Journal::open(Arc::new(Memory::default())).unwrap();
        pool.restore(&mut journal).unwrap();
        let status = metronome::Status {
            running: true,
            leading: true,
            epoch: 0,
            leader: None,
            round: None,
            interval: SECOND,
            validators: vec![],
            fault: None,
        };
        let blockchain = Some(Blockchain::new(Ledger::in_memory(chain)));
        let (pool, status, now) = (Some(pool), Some(status), Millis(1_000_000));
        Self { blockchain, pool, status, now, paid: 0 }
    }

    fn answer(&self, call: &Call) -> Result<Answer, Lost> {
        let gone = || Lost::new("nobody is there");
        let (chain, pool) = (self.blockchain.as_ref(), self.pool.as_ref());
        match call {
            Call::ChainInfo => {
                let info = chain.ok_or_else(gone)?.info().unwrap();
                Ok(Answer::ChainInfo(Box::new(info)))
            }
            Call::Summaries { before, max } => {
                let server = chain.ok_or_else(gone)?;
                let (archive, chain) = (server.archive(), server.ledger().state().chain());
                let recent = server.recent_summaries(*before, *max);
                let found = blockchain::summaries(archive, chain, &recent, *before, *max);
                Ok(Answer::Summaries(found.unwrap()))
            }
            Call::Audit => {
                let audit = chain.ok_or_else(gone)?.audit().run().unwrap();
                Ok(Answer::Audit(Some(audit)))
            }
            Call::PoolActivity => {
                Ok(Answer::PoolActivity(Box::new(pool.ok_or_else(gone)?.activity())))
            }
            Call::MetronomeStatus => {
                let status = self.status.clone().ok_or_else(gone)?;
                Ok(Answer::MetronomeStatus(Box::new(status)))
            }
            other => panic!("a monitor does not ask {other:?}"),
        }
    }

    /// One round of questions, a second after the last one.
    fn look(&mut self, monitor: &mut Monitor) -> Arc<Sample> {
        self.now = self.now.plus(SECOND);
        while let Next::Call(call) = monitor.next(self.now) {
            monitor.answer(self.now, self.answer(&call));
        }
        Arc::clone(monitor.history().now().unwrap())
    }

    /// A payment that the pool takes.
    fn submit(&mut self) -> TransactionId {
        let server = self.blockchain.as_ref().unwrap();
        let payment = pay(&ALICE, self.paid, address(&BOB), 1);
        let payment = checked(server.ledger().state(), payment);
        self.paid += 1;
        let pool = self.pool.as_mut().unwrap();
        pool.tell_time(self.now);
        assert!(pool.submit(Arc::clone(&payment)).held_id().is_some());
        payment.id()
    }

    /// Blocks, the first of which confirms what the pool hands out; it follows them.
    fn blocks(&mut self, count: usize) {
        let server = self.blockchain.as_mut().unwrap();
        for _ in 0..count {
            let (mut taken, state) = (vec![], server.ledger().state());
            if let Some(pool) = &mut self.pool {
                taken = pool.take(state.round().height);
            }
            let transactions = taken.iter().map(|one| one.transaction()).collect();
            let block = next_block(state, vec![], transactions);
            server.submit(&block.to_bytes()).unwrap();
            let Some(pool) = &mut self.pool else { continue };
            pool.answer(self.now, Ok(Answer::Blocks(vec![block.to_bytes()])));
            while let Next::Work(work) = pool.next(self.now) {
                pool.finish(self.now, work.run());
            }
            assert_eq!(pool.fault(), None);
        }
    }

    fn hear(&mut self, fingerprint: u8, height: u64) {
        let miner = Miner { address: address(&BOB), fingerprint: Fingerprint([fingerprint; 16]) };
        let (kind, last_seen) = (ProofKind::all().next().unwrap(), self.now);
        let (attempts, spent) = (300, Millis(150));
        let footprint = Footprint { ram_bytes: 1, disk_bytes: 2 };
        let height = Height(height);
        let heard = Validator { miner, kind, last_seen, height, attempts, spent, footprint };
        let all = &mut self.status.as_mut().unwrap().validators;
        all.retain(|known| known.miner != miner);
        all.push(heard);
    }
}

fn monitor() -> Monitor {
    Monitor::new(SECOND)
}

fn heights(history: &History) -> Vec<u64> {
    history.blocks().map(|block| block.height.0).collect()
}

#[test]
fn a_look_sums_up_what_the_roles_say() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    let first = network.look(&mut monitor);
    assert_eq!((first.figures.height, first.figures.tip_time), (None, None));
    assert_eq!(first.figures.latency, None);
    network.submit();
    network.now = network.now.plus(Millis(250));
    network.blocks(1);
    network.hear(7, 0);
    let Sample { figures, validators, servers } = (*network.look(&mut monitor)).clone();
    assert_eq!(servers, [], "there is one of each role");
    assert_eq!((figures.height, figures.transactions), (Some(Height(0)), Some(1)));
    assert_eq!((figures.submitted_total, figures.pool_submitted), (Some(1), Some(0)));
    let supply = network.blockchain.as_ref().unwrap().ledger().state().supply();
    assert_eq!((figures.supply, figures.supply_ok), (Some(supply), Some(true)));
    let latency = figures.latency.unwrap();
    assert_eq!((latency.count, latency.max), (1, Millis(250)));
    assert_eq!((figures.validators_alive, figures.faults.len()), (1, 0), "{:?}", figures.faults);
    assert!((validators[0].rate - 2000.0).abs() < 1e-9, "{validators:?}");
    let proof = figures.proof_seconds.0[&validators[0].proof].unwrap();
    assert!((proof - 0.15).abs() < 1e-9);
    assert_eq!(figures.difficulty.unwrap().0.len(), figures.proof_seconds.0.len());
    assert_eq!(network.look(&mut monitor).figures.latency, None, "nothing was confirmed since");
}

#[test]
fn what_a_silent_role_would_say_is_missing_and_the_fault_is_told() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    network.blocks(2);
    network.look(&mut monitor);
    let (blockchain, pool) = (network.blockchain.take(), network.pool.take());
    network.status = None;
    let figures = network.look(&mut monitor).figures.clone();
    assert_eq!((figures.height, figures.supply, figures.supply_ok), (None, None, None));
    assert_eq!((figures.submitted_total, figures.round), (None, None));
    let roles: Vec<_> = figures.faults.iter().map(|f| f.split(':').next().unwrap()).collect();
    assert_eq!(roles, ["blockchain", "pool", "metronome"], "of each role one fault is enough");
    assert_eq!(heights(monitor.history()), [1, 0], "blocks are what they were");
    (network.blockchain, network.pool) = (blockchain, pool);
    network.blocks(1);
    assert_eq!(network.look(&mut monitor).figures.height, Some(Height(2)));
    assert_eq!(heights(monitor.history()), [2, 1, 0]);
}

#[test]
fn faults_that_roles_tell_of_themselves_are_repeated() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    let status = network.status.as_mut().unwrap();
    (status.fault, status.running) = (Some("x".repeat(1 << 20)), false);
    let faults = network.look(&mut monitor).figures.faults.clone();
    assert_eq!(faults[0].len(), FAULT_BYTES_MAX);
    network.status.as_mut().unwrap().fault = Some("no block fits".into());
    let pool = network.pool.take();
    network.blocks(9);
    network.pool = pool;
    let faults = network.look(&mut monitor).figures.faults.clone();
    let expected = [
        "metronome: no block fits",
        "metronome: it is stopped and makes no blocks",
        "pool: it is 9 blocks behind the ledger",
    ];
    assert_eq!(faults, expected);
    assert_eq!(monitor.report().unwrap().faults, Vec::<String>::new(), "everybody answered");
    let long = "\u{e9}".repeat(FAULT_BYTES_MAX);
    let mut gathering = Gathering::default();
    gathering.fault(format!("a{long}"));
    assert_eq!(gathering.report.faults[0].len(), FAULT_BYTES_MAX - 1);
}

#[test]
fn a_reader_goes_on_from_any_event_it_knows() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    network.look(&mut monitor);
    let first = monitor.history().last();
    for _ in 0..5 {
        network.submit();
        network.blocks(1);
        network.look(&mut monitor);
    }
    let history = monitor.history();
    let all = history.after(first, usize::MAX).unwrap();
    let numbers: Vec<_> = all.iter().map(|event| event.id.number).collect();
    assert_eq!(numbers, (first.number + 1..=history.last().number).collect::<Vec<_>>());
    assert_eq!(numbers.len(), 15, "a block, a transaction and a sample each time");
    for (index, event) in all.iter().enumerate() {
        assert_eq!(history.after(event.id, usize::MAX).unwrap(), all[index + 1..]);
        assert_eq!(
            history.after(event.id, 2).unwrap(),
            all[index + 1..].iter().take(2).cloned().collect::<Vec<_>>()
        );
    }
    let EventId { epoch, number } = history.last();
    for unknown in [
        EventId { epoch, number: number + 1 },
        EventId { epoch: Millis(epoch.0 - 1), number },
        EventId::default(),
    ] {
        assert_eq!(history.after(unknown, usize::MAX), None, "{unknown}");
    }
    assert_eq!(first.to_string().parse(), Ok(first));
    for text in ["", "-", "1", "1-", "-1", "1-2-3", "a-b"] {
        let error = text.parse::<EventId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the id of an event is two numbers with a hyphen between them"
        );
    }
}

#[test]
fn an_hour_is_kept_and_no_more() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    network.look(&mut monitor);
    let first = monitor.history().last();
    let begun = network.now;
    for _ in 0..SAMPLES_MAX + 5 {
        network.look(&mut monitor);
    }
    let history = monitor.history();
    assert_eq!(history.samples().len(), SAMPLES_MAX);
    assert_eq!(history.samples().next().unwrap().time, begun.plus(Millis(6 * 1000)));
    assert_eq!(history.after(first, usize::MAX), None, "so old an event is forgotten");
    let last = history.last();
    let oldest = EventId { number: last.number - EVENTS_MAX as u64, ..last };
    assert_eq!(history.after(oldest, usize::MAX).unwrap().len(), EVENTS_MAX);
    let older = EventId { number: oldest.number - 1, ..last };
    assert_eq!(history.after(older, usize::MAX), None);
}

#[test]
fn a_monitor_that_falls_behind_shows_the_newest_blocks() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    network.blocks(3);
    network.look(&mut monitor);
    network.blocks(BLOCKS_MAX + 40);
    let before = monitor.history().last();
    network.look(&mut monitor);
    let tip = 3 + BLOCKS_MAX as u64 + 40 - 1;
    let newest: Vec<_> = (0..BLOCKS_MAX as u64).map(|below| tip - below).collect();
    assert_eq!(heights(monitor.history()), newest);
    let events = monitor.history().after(before, usize::MAX).unwrap();
    assert_eq!(events.len(), BLOCKS_MAX + 1, "those between are not told");
    let told = events.iter().filter_map(|event| match &event.payload {
        Payload::Block(block) => Some(block.height.0),
        _ => None,
    });
    assert!(told.is_sorted(), "in the order of the chain");
    network.blocks(2);
    network.look(&mut monitor);
    assert_eq!(heights(monitor.history())[..3], [tip + 2, tip + 1, tip]);
}

#[test]
fn a_validator_that_falls_silent_stays_listed_as_gone_for_an_hour() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    network.hear(1, 0);
    let sample = network.look(&mut monitor);
    assert!(sample.validators[0].alive);
    for second in 1..=3601_u64 {
        network.hear(2, second);
        let sample = network.look(&mut monitor);
        let first = sample.validators.iter().find(|one| one.fingerprint.0 == [1; 16]);
        let is_alive = second <= 4;
        // The metronome itself forgets it at its restart.
        network.status.as_mut().unwrap().validators.clear();
        assert_eq!(first.map(|one| one.alive), Some(is_alive).filter(|_| second < 3600));
        assert_eq!(sample.figures.validators_alive, 1 + u64::from(is_alive));
    }
}

/// Its clock may be years off.
#[test]
fn a_validator_is_alive_whatever_the_metronome_takes_for_the_time() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    for round in 0..9_u64 {
        network.hear(1, round);
        network.status.as_mut().unwrap().validators[0].last_seen = Millis(5 + round);
        let sample = network.look(&mut monitor);
        assert_eq!(sample.validators[0].alive, round > 0, "its first report may be an old one");
    }
}

#[test]
fn more_validators_than_are_shown_or_remembered_are_counted_and_bounded() {
    let mut validators = Validators::default();
    let mut network = Network::new();
    network.hear(0, 0);
    let one = network.status.as_ref().unwrap().validators[0].clone();
    let with = |number: u64| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Validator { miner: Miner { fingerprint: Fingerprint(bytes), ..one.miner }, ..one.clone() }
    };
    let mut report = Report { time: network.now, metronome: network.status, ..Report::default() };
    for batch in 0..3 {
        let all = (batch * 1000..(batch + 1) * 1000).map(with).collect();
        report.metronome.as_mut().unwrap().validators = all;
        validators.follow(&report, None);
    }
    assert_eq!(validators.alive_count(network.now), TRACKED_MAX as u64);
    let prefix = Some(crate::address::Prefix::Main);
    assert_eq!(validators.rows(network.now, prefix).len(), VALIDATORS_MAX);
    assert_eq!(validators.rows(network.now, None), []);
}

#[test]
fn a_transaction_is_told_whenever_its_state_changes() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    network.look(&mut monitor);
    let mut before = monitor.history().last();
    let mut told = |network: &mut Network, monitor: &mut Monitor| {
        network.look(monitor);
        let events = monitor.history().after(before, usize::MAX).unwrap();
        before = monitor.history().last();
        let rows = events.into_iter().filter_map(|event| match event.payload {
            Payload::Recent(rows) => Some(rows.to_vec()),
            _ => None,
        });
        let rows: Vec<_> = rows.flatten().map(|row| (row.id, row.state, row.height)).collect();
        rows
    };
    let id = network.submit();
    assert_eq!(told(&mut network, &mut monitor), [(id, "submitted".into(), None)]);
    assert_eq!(told(&mut network, &mut monitor), [], "nothing is new");
    network.pool.as_mut().unwrap().take(Height(0));
    let handed = (id, "unconfirmed".into(), Some(Height(0)));
    assert_eq!(told(&mut network, &mut monitor), [handed]);
    network.blocks(1);
    let confirmed = (id, "confirmed".into(), Some(Height(0)));
    assert_eq!(told(&mut network, &mut monitor), [confirmed]);
    // A pool that starts again knows nothing of it; the list does.
    let chain = network.blockchain.as_ref().unwrap().ledger().state().chain().clone();
    network.pool = Some(Pool::new(chain, Limits::default()));
    assert_eq!(told(&mut network, &mut monitor), []);
    assert_eq!(monitor.history().recent()[0].id, id);
}

#[test]
fn of_many_transactions_the_newest_are_listed_and_told_once() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    for _ in 0..20 {
        network.now = network.now.plus(SECOND);
        for _ in 0..20 {
            network.submit();
        }
    }
    network.look(&mut monitor);
    assert_eq!(monitor.history().recent().len(), RECENT_MAX);
    let before = monitor.history().last();
    network.look(&mut monitor);
    assert_eq!(monitor.history().after(before, usize::MAX).unwrap().len(), 1, "a sample alone");
}

#[test]
fn another_chain_or_one_put_back_begins_a_new_history() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    network.blocks(3);
    network.look(&mut monitor);
    let known = monitor.history().last();
    let mut put_back = Network::new();
    put_back.now = network.now;
    put_back.blocks(1);
    put_back.look(&mut monitor);
    let history = monitor.history();
    assert_eq!((history.after(known, usize::MAX), history.samples().len()), (None, 1));
    assert!(history.last().epoch > known.epoch);
    put_back.look(&mut monitor);
    assert_eq!(heights(monitor.history()), [0]);

    let known = monitor.history().last();
    let mut other = genesis();
    other.network = crate::codec::List::new(b"another".to_vec()).unwrap();
    let mut other = Network::of(other.check().unwrap());
    other.now = put_back.now;
    other.look(&mut monitor);
    assert_eq!(monitor.history().after(known, usize::MAX), None);
    assert_eq!(monitor.history().network(), Some("another"));
}

#[test]
fn each_of_several_servers_is_shown_as_it_said_last() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    network.blocks(3);
    let info = network.blockchain.as_ref().unwrap().info().unwrap();
    let stale =
        blockchain::Info { final_height: Some(Height(1)), stale_since: Some(SECOND), ..info };
    let leading = network.status.as_ref().unwrap().clone();
    let chain = |url, fault: Option<&str>| {
        ServerRow::new("blockchain", url).standing(true, fault.map(str::to_owned))
    };
    let well = chain("http://a:1", None);
    monitor.hear(
        2,
        ServerRow::new("metronome", "http://c:3").standing(true, None).with_lease(&leading),
    );
    monitor.hear(0, well.clone());
    monitor.hear(1, chain("http://b:1", Some("engine: silent")).with_chain(&stale));
    let sample = network.look(&mut monitor);
    let texts: Vec<_> = sample.servers.iter().map(ToString::to_string).collect();
    let expected = [
        "blockchain http://a:1",
        "blockchain http://b:1  block 2, final 1  NOT READY: engine: silent",
        "metronome http://c:3  leads with lease 0",
    ];
    assert_eq!(texts, expected);
    assert_eq!(sample.figures.faults, ["blockchain at http://b:1: engine: silent"]);
    assert_eq!(sample.servers[1].stale_since, Some(SECOND));
    let report = monitor.report().unwrap();
    assert_eq!((&report.servers, report.faults.len()), (&sample.servers, 0), "the roles answer");

    let gone = ServerRow::new("blockchain", "http://b:1").standing(false, Some("refused".into()));
    monitor.hear(1, gone.clone());
    assert!(!gone.ready && gone.height.is_none());
    assert_eq!(gone.to_string(), "blockchain http://b:1  SILENT: refused");
    let sample = network.look(&mut monitor);
    assert_eq!(sample.servers[..2], [well, gone], "nothing is left of what it said before");
    let long = ServerRow::new("pool", "http://d:2").standing(true, Some("x".repeat(1 << 20)));
    assert_eq!(long.fault.unwrap().len(), FAULT_BYTES_MAX);
}

#[test]
fn one_of_several_servers_that_lags_behind_begins_no_new_history() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    let mut late = Network::new();
    network.blocks(3);
    late.blocks(1);
    monitor.hear(0, ServerRow::new("blockchain", "http://a:1"));
    network.look(&mut monitor);
    let known = monitor.history().last();
    late.now = network.now;
    assert_eq!(late.look(&mut monitor).figures.height, Some(Height(0)), "as it is told");
    assert_eq!(heights(monitor.history()), [2, 1, 0]);
    assert_eq!(monitor.history().after(known, usize::MAX).unwrap().len(), 1, "one more sample");
    let mut other = genesis();
    other.network = crate::codec::List::new(b"another".to_vec()).unwrap();
    let mut other = Network::of(other.check().unwrap());
    other.now = late.now;
    other.blocks(1);
    other.look(&mut monitor);
    assert_eq!(monitor.history().after(known, usize::MAX), None, "this one is another chain");
}

#[test]
fn a_validator_may_report_to_one_metronome_and_then_to_another() {
    let (mut network, mut monitor) = (Network::new(), monitor());
    monitor.hear(0, ServerRow::new("metronome", "http://a:3"));
    network.hear(1, 0);
    assert!(network.look(&mut monitor).validators[0].alive);
    let first = network.status.as_ref().unwrap().validators.clone();
    for round in 1..20_u64 {
        // The first metronome still tells when it heard of it last; the other one hears of it now.
        let mut other = first.clone();
        other[0].last_seen = network.now;
        if round < 10 {
            monitor.overhear(other);
        } else {
            monitor.overhear(first.clone());
        }
        let is_alive = network.look(&mut monitor).validators[0].alive;
        assert_eq!(is_alive, round < 15, "{round}");
    }
}
