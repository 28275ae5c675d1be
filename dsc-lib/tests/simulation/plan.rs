//! What goes wrong in a run: drawn from its seed before it starts.
//!
//! Each kind of fault and each adversary is switched on or off, and has its rate drawn, for each
//! run anew: runs in which everything happens at once hide what a few faults do alone.

use std::ops::RangeInclusive;

use dsc_lib::{mempool::Limits, proof::ENGINE_COUNT, units::Millis};

use crate::{
    clock::Skew,
    disk::Ailment,
    event::{Node, WALLETS},
    faults::{Fault, Moment},
    random::Random,
};

/// How long faults and adversaries go on.
pub(crate) const FAULTY: Millis = Millis(60_000);

/// What a pool may hold: few enough that a flood fills it.
const SMALL: Limits = Limits {
    transactions_max: 24,
    bytes_max: 1 << 20,
    per_sender_max: 10,
    gap_max: 16,
    expiry_max: 64,
    finished_max: 16,
};

/// Roles that others call.
pub(crate) const SERVERS: [Node; 3] = [Node::Blockchain, Node::Pool, Node::Metronome];

/// What a run is like. Chances are in a thousand.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) loss: u64,
    pub(crate) doubling: u64,
    pub(crate) lateness: u64,
    /// Time that a message takes.
    pub(crate) delay_ms: RangeInclusive<u64>,
    /// Time after which a call without an answer is given up.
    pub(crate) patience_ms: RangeInclusive<u64>,
    pub(crate) skew: Skew,
    /// When which fault begins.
    pub(crate) faults: Vec<(Millis, Fault)>,
    /// Whether all roles are in one process, and so share what one of them has checked.
    pub(crate) is_one_process: bool,
    /// What the pool may hold.
    pub(crate) pool: Limits,
    /// Whether the metronome is given a higher lease number at each start.
    pub(crate) has_leases: bool,
    /// Whether the ledger's index is written after every block.
    pub(crate) is_eager: bool,
    pub(crate) acts: Acts,
}

/// How often adversaries act when they could.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acts {
    pub(crate) forger: u64,
    pub(crate) cheat: u64,
    pub(crate) thief: u64,
    pub(crate) pool: u64,
    pub(crate) ledger: u64,
    /// Of the lies of a false ledger that nobody can find out.
    pub(crate) collusion: u64,
}

/// Every machine of an honest role.
pub(crate) fn honest() -> Vec<Node> {
    let mut nodes = SERVERS.to_vec();
    nodes.push(Node::Monitor);
    nodes.extend((0..ENGINE_COUNT).map(Node::Validator));
    nodes.extend((0..WALLETS).map(Node::Wallet));
    nodes
}

impl Plan {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut rate = |max: u64| if random.coin() { 1 + random.number() % max } else { 0 };
        let (loss, doubling, lateness) = (rate(150), rate(150), rate(60));
        let mut acts =
            Acts { forger: rate(1000), cheat: rate(1000), thief: rate(1000), ..Acts::default() };
        (acts.pool, acts.ledger, acts.collusion) = (rate(400), rate(400), rate(200));
        let skew = draw_skew(random);
        let delay_max = random.pick(&[20, 120, 300]);
        let patience_max = random.pick(&[400, 1500, 5000]);
        Self {
            loss,
            doubling,
            lateness,
            delay_ms: 1..=delay_max,
            patience_ms: 300..=patience_max,
            skew,
            faults: draw_faults(random),
            is_one_process: random.coin(),
            pool: if random.coin() { SMALL } else { Limits::default() },
            has_leases: random.coin(),
            is_eager: random.coin(),
            acts,
        }
    }

    /// The plan of a network in which nothing goes wrong any more.
    pub(crate) fn calm(&mut self) {
        (self.loss, self.doubling, self.lateness) = (0, 0, 0);
        (self.delay_ms, self.patience_ms) = (1..=50, 2000..=2000);
        self.acts = Acts::default();
    }
}

/// Most of the time clocks are off by little; at times by all that blocks may be ahead.
fn draw_skew(random: &mut Random) -> Skew {
    if random.coin() {
        return Skew::default();
    }
    let offset_ms = random.pick(&[20, 1000, 60_000, 50 * 60_000]);
    Skew { offset_ms, drift_ppm: random.pick(&[0, 200, 50_000]) }
}

fn draw_faults(random: &mut Random) -> Vec<(Millis, Fault)> {
    let kinds = [draw_crash, draw_crash, draw_pause, draw_cut, draw_isolation, draw_ailment];
    let mut faults = Vec::new();
    for draw in kinds {
        let count = if random.coin() { random.within(&(1..=4)) } else { 0 };
        for _ in 0..count {
            let at = random.millis(&(0..=FAULTY.0 - 1));
            let fault = draw(random);
            faults.push((at, fault));
            faults
                .extend(draw_second(random, fault).map(|(after, second)| (at.plus(after), second)));
        }
    }
    faults
}

/// Misfortunes come together: a machine that has come up crashes again, or its disk is ill then.
fn draw_second(random: &mut Random, first: Fault) -> Option<(Millis, Fault)> {
    let Fault::Crash { node, down, .. } = first else { return None };
    match random.below(4) {
        0 => {
            let second = Fault::Crash { node, is_power: true, moment: Moment::Now, down };
            Some((down.plus(random.millis(&(1..=1500))), second))
        }
        1 => {
            let (span, ailment) =
                (down.plus(Millis(1000)), Ailment::Failing(random.pick(&[2, 10])));
            Some((Millis(0), Fault::Ailment { node, ailment, span }))
        }
        _ => None,
    }
}

/// Half of the faults of machines hit those that have a disk.
fn draw_node(random: &mut Random) -> Node {
    if random.coin() { random.pick(&SERVERS) } else { random.pick(&honest()) }
}

fn draw_crash(random: &mut Random) -> Fault {
    let node = draw_node(random);
    let down = random.millis(&(100..=6000));
    let moment = random.pick(&[Moment::Now, Moment::Write, Moment::Start]);
    Fault::Crash { node, is_power: random.coin(), moment, down }
}

fn draw_pause(random: &mut Random) -> Fault {
    Fault::Pause { node: draw_node(random), span: random.millis(&(100..=8000)) }
}

fn draw_cut(random: &mut Random) -> Fault {
    let from = random.pick(&SERVERS);
    let others: Vec<_> = honest().into_iter().filter(|node| *node != from).collect();
    let (to, span) = (random.pick(&others), random.millis(&(500..=15_000)));
    let [from, to] = if random.coin() { [from, to] } else { [to, from] };
    Fault::Cut { from, to, both: random.coin(), span }
}

fn draw_isolation(random: &mut Random) -> Fault {
    Fault::Isolation { node: draw_node(random), span: random.millis(&(500..=10_000)) }
}

fn draw_ailment(random: &mut Random) -> Fault {
    let one_in = random.pick(&[2, 10, 50]);
    let all = [Ailment::Full, Ailment::Failing(one_in), Ailment::Unsynced, Ailment::Slow];
    let span = random.millis(&(500..=10_000));
    Fault::Ailment { node: random.pick(&SERVERS), ailment: random.pick(&all), span }
}
