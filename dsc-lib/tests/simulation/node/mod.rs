//! The machines: what they have besides their role, and how they start and end.

mod blockchain;
mod clients;
mod metronome;
mod pool;

use dsc_lib::units::Millis;

pub(crate) use self::{
    blockchain::BlockchainNode, clients::Clients, metronome::MetronomeNode, pool::PoolNode,
};
use crate::{
    clock::Clock,
    disk::SickDisk,
    event::{Caller, Event, Node},
    faults::Crash,
    world::World,
};

/// A machine, whatever role runs on it.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) clock: Clock,
    pub(crate) is_up: bool,
    pub(crate) paused_until: Millis,
    /// Roles that keep nothing have none.
    pub(crate) disk: Option<SickDisk>,
    /// The crash that comes in the middle of the next writes.
    pub(crate) doomed: Option<Crash>,
    /// The crash that comes in the middle of the next start.
    pub(crate) doomed_start: Option<Crash>,
    /// The operations on the disk before those that it has not acknowledged.
    busy_since: Option<usize>,
}

impl Machine {
    pub(crate) fn new(clock: Clock, disk: Option<SickDisk>) -> Self {
        Self {
            clock,
            is_up: false,
            paused_until: Millis(0),
            disk,
            doomed: None,
            doomed_start: None,
            busy_since: None,
        }
    }

    /// Operations on its disk: before what it has not acknowledged, and in all.
    pub(crate) fn operations(&self) -> (usize, usize) {
        let done = self.disk.as_ref().map_or(0, SickDisk::operations);
        (self.busy_since.unwrap_or(done), done)
    }

    /// What is written from now on is acknowledged later.
    pub(crate) fn begin_write(&mut self) {
        self.busy_since = Some(self.operations().0);
    }

    pub(crate) fn end_write(&mut self) {
        self.busy_since = None;
    }

    pub(crate) fn stop(&mut self) {
        self.is_up = false;
        self.doomed = None;
        self.busy_since = None;
    }
}

impl World {
    pub(crate) fn machine(&mut self, node: Node) -> &mut Machine {
        self.machines.get_mut(&node).expect("every role has a machine")
    }

    /// What the machine's clock shows.
    pub(crate) fn now_of(&self, node: Node) -> Millis {
        self.machines[&node].clock.at(self.now)
    }

    /// Starts a machine that is down; its role knows what is on its disk.
    pub(crate) fn start(&mut self, node: Node) {
        if self.machine(node).is_up {
            return;
        }
        let clock = Clock::set(self.now, self.plan.skew, &mut self.random);
        if self.plan.skew.offset_ms > 0 {
            self.counts.add("clock wrong");
        }
        self.machine(node).clock = clock;
        self.machine(node).is_up = true;
        if let Some(crash) = self.machine(node).doomed_start.take() {
            self.doom(node, crash);
        }
        let started = match node {
            Node::Blockchain => self.start_blockchain(),
            Node::Pool => self.start_pool(),
            Node::Metronome => self.start_metronome(),
            _ => self.start_client(node),
        };
        if self.strike(node) {
            self.counts.add("crash: in a start");
        } else if !started {
            self.give_up_start(node);
        } else {
            self.callers_on(node).into_iter().for_each(|caller| self.wake(caller));
        }
    }

    /// A role that cannot use its disk ends, and is started again later.
    fn give_up_start(&mut self, node: Node) {
        self.machine(node).stop();
        self.forget(node);
        self.schedule(Millis(700), Event::Start(node));
    }

    /// Drops what a role had in RAM.
    pub(crate) fn forget(&mut self, node: Node) {
        self.parked.remove(&node);
        match node {
            Node::Blockchain => self.blockchain = BlockchainNode::default(),
            Node::Pool => {
                if let Some(pool) = &self.pool.role {
                    self.judge.pool_stopped(pool);
                }
                self.pool = PoolNode::default();
            }
            Node::Metronome => self.metronome = MetronomeNode::default(),
            _ => {}
        }
    }

    fn callers_on(&self, node: Node) -> Vec<Caller> {
        match node {
            Node::Blockchain => vec![],
            Node::Pool => vec![Caller::Pool],
            Node::Metronome => vec![Caller::Metronome],
            Node::Monitor => vec![Caller::Monitor],
            Node::Validator(index) => vec![Caller::Validator(index)],
            Node::Wallet(_) => self.clients.open_payments(node),
            Node::Forger => vec![Caller::Forger],
            Node::Cheat => vec![Caller::Cheat],
            Node::Thief => vec![Caller::Thief],
        }
    }

    /// Time until a disk has done what it was asked.
    pub(crate) fn disk_time(&mut self, node: Node) -> Millis {
        let disk = self.machines[&node].disk.as_ref();
        let is_slow = disk.is_some_and(|disk| disk.ailment() == Some(crate::disk::Ailment::Slow));
        self.random.millis(if is_slow { &(200..=3000) } else { &(0..=8) })
    }
}
