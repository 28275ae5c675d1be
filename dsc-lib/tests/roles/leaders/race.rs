//! Two metronomes with their leases on a board that loses, delays and refuses, at a blockchain
//! server whose answers get lost; they stand still, are killed and start again, each at its own pace.

use std::{collections::BTreeMap, sync::Arc};

use dsc_lib::{
    block::Header,
    cluster::{
        Cluster, Embedded, Revision, Shelf, Unavailable,
        lease::{Applicant, Ask, Found, KEY, Lease, Record},
    },
    proof::ENGINES,
    role::metronome::exchange::{Exchange, note_of, prefix_of},
    testing::{
        disk::Dice,
        faulty::{Faulty, Rates},
    },
    units::{Height, Millis},
};

use super::pair::{Cut, Pair};

const LEASE: Millis = Millis(5_000);
/// Things that happen while there are faults.
const FAULTY_STEPS: usize = 6_000;
/// Time in which all is well again after the faults have ended.
const PATIENCE: Millis = Millis(20_000);

/// What a metronome has beside the role.
struct Side {
    lease: Lease,
    board: Arc<Faulty>,
    exchange: Exchange,
    /// Counts its starts.
    process: u64,
    paused_until: Millis,
}

struct Race {
    pair: Pair,
    sides: [Side; 2],
    engine: Cluster,
    dice: Dice,
    is_quiet: bool,
    proved: Option<Height>,
}

impl Race {
    fn new(seed: u64) -> Self {
        let (pair, engine) = (Pair::new(), Embedded::in_memory().cluster());
        let side = |index: usize| {
            let board = Faulty::new(engine.clone(), seed * 2 + index as u64);
            board.set_rates(Rates { unknown: 8, unavailable: 6 });
            let me = applicant(&pair, index, 0);
            Side {
                lease: Lease::new(me, LEASE),
                board,
                exchange: Exchange::default(),
                process: 0,
                paused_until: Millis(0),
            }
        };
        let sides = [side(0), side(1)];
        Self { pair, sides, engine, dice: Dice(seed), is_quiet: false, proved: None }
    }

    fn one_in(&mut self, count: usize) -> bool {
        !self.is_quiet && self.dice.below(count) == 0
    }

    /// Somebody does something, a little later.
    fn step(&mut self) {
        let pause = self.dice.below(40) as u64;
        self.pair.pass(pause);
        let seat = self.dice.below(2);
        if self.sides[seat].paused_until > self.pair.now {
            return;
        }
        if self.one_in(250) {
            let pause = self.dice.below(20_000) as u64;
            self.sides[seat].paused_until = self.pair.now.plus(Millis(pause));
        }
        if self.one_in(400) {
            self.restart(seat);
        }
        match self.dice.below(4) {
            0 => self.beat(seat),
            1 => self.exchange(seat),
            _ => self.work(seat),
        }
    }

    fn restart(&mut self, seat: usize) {
        let chain = self.pair.chain.clone();
        self.pair.seats[seat].restart(&chain);
        let process = self.sides[seat].process + 1;
        let me = applicant(&self.pair, seat, process);
        let side = &mut self.sides[seat];
        (side.lease, side.exchange, side.process) =
            (Lease::new(me, LEASE), Exchange::default(), process);
        side.paused_until = self.pair.now.plus(Millis(500));
    }

    /// One question about the lease; the role hears of it, unless it stands still in between.
    fn beat(&mut self, seat: usize) {
        let now = self.pair.now;
        let tip = self.pair.seats[seat].metronome.candidacy(now, LEASE);
        let Side { lease, board, .. } = &mut self.sides[seat];
        match lease.next(now, tip) {
            Ask::Read => lease.read(now, read(&board.cluster())),
            Ask::Put(record, expected) => {
                let value = serde_json::to_vec(&record).unwrap();
                let board = board.cluster().board;
                lease.put(now, &board.put(Shelf::Control, KEY, &value, Some(expected)));
            }
            _ => {}
        }
        self.pair.seats[seat].metronome.heed_lease(lease, now);
    }

    /// A metronome takes a proof for its round, or reads what the other one has shared.
    fn exchange(&mut self, seat: usize) {
        let Some(round) = self.pair.round(seat) else { return };
        let board = self.sides[seat].board.cluster().board;
        // To prove takes long: for some rounds.
        let is_wanted = round.height.0.is_multiple_of(8) && self.proved != Some(round.height);
        if is_wanted && self.dice.below(4) == 0 {
            self.proved = Some(round.height);
            let (height, entries) = self.pair.proofs(seat);
            let entry = &entries[self.dice.below(ENGINES.len()) % entries.len()];
            if self.pair.hand_in(seat, height, entry).is_ok() {
                let (key, value) = note_of(height, entry).unwrap();
                // Whether it comes there or not: it is shared as well as may be.
                drop(board.put(Shelf::Proofs, &key, &value, None));
            }
        }
        let notes = board.list(Shelf::Proofs, &prefix_of(round.height)).unwrap_or_default();
        for entry in self.sides[seat].exchange.fresh(&round, notes) {
            // One of another challenge is refused.
            drop(self.pair.metronome(seat).take_shared(round.height, entry));
        }
    }

    fn work(&mut self, seat: usize) {
        self.pair.leader = read(&self.engine).unwrap().1.map(|record| record.holder);
        let cut = match self.dice.below(12) {
            0 if !self.is_quiet => Cut::Before,
            1 if !self.is_quiet => Cut::After,
            _ => Cut::Nowhere,
        };
        self.pair.step_with(seat, cut);
    }

    fn run_until(&mut self, until: Millis) {
        while self.pair.now < until {
            self.step();
        }
    }

    fn quieten(&mut self) {
        self.is_quiet = true;
        for side in &mut self.sides {
            side.board.mend();
            side.paused_until = Millis(0);
        }
    }

    /// What must hold of the ledger, whatever happened.
    fn judge(&self) {
        assert_eq!(self.pair.blockchain.evidence().count(), 0, "two blocks of one signer");
        let mut owners = BTreeMap::new();
        let mut last = 0;
        for height in 0..=self.pair.height().unwrap().0 {
            let Header { epoch, metronome, .. } = self.pair.block(height).header;
            assert!(epoch >= last, "epoch {epoch} after {last}");
            assert_eq!(*owners.entry(epoch).or_insert(metronome), metronome, "epoch {epoch}");
            last = epoch;
        }
    }
}

fn applicant(pair: &Pair, index: usize, process: u64) -> Applicant {
    let key = pair.seats[index].address();
    Applicant { key, process, url: format!("http://m{index}:1") }
}

fn read(cluster: &Cluster) -> Result<Found, Unavailable> {
    let note = cluster.board.get(Shelf::Control, KEY)?;
    Ok(note.map_or((Revision::NONE, None), |note| {
        (note.revision, serde_json::from_slice::<Record>(&note.value).ok())
    }))
}

#[test]
fn whatever_goes_wrong_one_chain_grows_and_when_it_is_over_it_grows_steadily() {
    let (mut leases, mut blocks) = (0, 0);
    for seed in 0..24 {
        let mut race = Race::new(seed);
        for _ in 0..FAULTY_STEPS {
            race.step();
        }
        race.judge();
        race.quieten();
        race.run_until(race.pair.now.plus(PATIENCE));
        let before = race.pair.height().map_or(0, |height| height.0);
        race.run_until(race.pair.now.plus(PATIENCE));
        let after = race.pair.height().unwrap().0;
        let faults: Vec<_> = race.pair.seats.iter().map(|seat| seat.metronome.fault()).collect();
        assert!(after >= before + 15, "seed {seed}: {before} to {after}, {faults:?}");
        race.judge();
        // The leader dies for good; the other one goes on.
        let now = race.pair.now;
        let dead = race.pair.seats.iter().position(|seat| seat.metronome.leads(now)).unwrap();
        race.sides[dead].paused_until = Millis(u64::MAX);
        race.run_until(now.plus(LEASE).plus(LEASE));
        assert!(race.pair.height().unwrap().0 >= after + 2, "seed {seed}: nobody goes on");
        race.judge();
        leases += race.pair.block(race.pair.height().unwrap().0).header.epoch;
        blocks += race.pair.height().unwrap().0;
    }
    assert!(leases > 24 * 3 && blocks > 24 * 30, "{leases} leases, {blocks} blocks");
}
