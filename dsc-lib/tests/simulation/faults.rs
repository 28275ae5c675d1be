//! Faults of machines and of the network between them: how they begin and how they end.

use dsc_lib::{testing::disk::Keep, units::Millis};

use crate::{
    disk::{Ailment, SickDisk},
    event::{Caller, Event, Node},
    plan::{SERVERS, honest},
    world::World,
};

/// Time until a machine that was to be up is up again.
const START: Millis = Millis(300);

/// A crash in the middle of a write comes after fewer changes of the disk than this.
const CHANGES: usize = 12;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The machine loses power, or the process is killed, and starts again later.
    Crash { node: Node, is_power: bool, moment: Moment, down: Millis },
    /// The process stands still for some time, and then goes on as if nothing had been.
    Pause { node: Node, span: Millis },
    /// Nothing gets from one machine to the other, or to either.
    Cut { from: Node, to: Node, both: bool, span: Millis },
    /// Nothing gets to this machine or away from it.
    Isolation { node: Node, span: Millis },
    /// The machine's disk is not what it should be.
    Ailment { node: Node, ailment: Ailment, span: Millis },
}

/// When a machine goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Now,
    /// In the middle of the next writes.
    Write,
    /// Now, and again when it starts, as soon as it writes.
    Start,
}

/// How a machine goes down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    pub(crate) is_power: bool,
    pub(crate) down: Millis,
}

impl World {
    pub(crate) fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { node, is_power, moment, down } => {
                self.begin_crash(node, moment, Crash { is_power, down });
            }
            Fault::Pause { node, span } => {
                self.counts.add("pause");
                let until = self.now.plus(span);
                let machine = self.machine(node);
                machine.paused_until = machine.paused_until.max(until);
            }
            Fault::Cut { span, .. } | Fault::Isolation { span, .. } => {
                self.turn_links(fault, true);
                self.schedule(span, Event::End(fault));
            }
            Fault::Ailment { node, ailment, span } => {
                self.counts.add(ailment.name());
                self.ail(node, Some(ailment));
                self.schedule(span, Event::End(fault));
            }
        }
    }

    fn begin_crash(&mut self, node: Node, moment: Moment, crash: Crash) {
        let has_disk = self.machine(node).disk.is_some();
        if moment == Moment::Write && has_disk {
            return self.doom(node, crash);
        }
        if moment == Moment::Start && has_disk {
            self.machine(node).doomed_start = Some(crash);
        }
        if self.machine(node).is_up {
            self.crash(node, crash);
        }
    }

    /// Lets a machine go down in the middle of its next writes.
    pub(crate) fn doom(&mut self, node: Node, crash: Crash) {
        let changes = 1 + self.random.below(CHANGES);
        let machine = self.machine(node);
        machine.disk.iter().for_each(|disk| disk.kill_after(changes));
        machine.doomed = Some(crash);
    }

    pub(crate) fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Ailment { node, .. } => self.ail(node, None),
            _ => self.turn_links(fault, false),
        }
    }

    fn turn_links(&mut self, fault: Fault, is_cut: bool) {
        let name = match fault {
            Fault::Cut { from, to, both, .. } => {
                let turn =
                    if is_cut { crate::network::Links::cut } else { crate::network::Links::mend };
                turn(&mut self.links, from, to);
                if both {
                    turn(&mut self.links, to, from);
                }
                if both { "partition" } else { "one-way partition" }
            }
            Fault::Isolation { node, .. } if is_cut => {
                self.links.isolate(node);
                "isolation"
            }
            Fault::Isolation { node, .. } => return self.links.rejoin(node),
            _ => return,
        };
        if is_cut {
            self.counts.add(name);
        }
    }

    fn ail(&mut self, node: Node, ailment: Option<Ailment>) {
        if let Some(disk) = &self.machine(node).disk {
            disk.ail(ailment);
        }
    }

    /// The machine goes down as it is: what it has on disk is all that is left.
    pub(crate) fn crash(&mut self, node: Node, crash: Crash) {
        let Crash { is_power, down } = crash;
        self.trace.note(self.now, format_args!("{node:?} goes down: {crash:?}"));
        if is_power {
            self.counts.add("crash: power");
            self.cut_power(node);
        } else {
            self.counts.add("crash: process");
            self.machine(node).disk.iter().for_each(SickDisk::end_process);
        }
        self.machine(node).stop();
        self.waiting.retain(|caller, _| caller.node() != node);
        self.forget(node);
        self.schedule(down, Event::Start(node));
    }

    /// What was synced is kept, and of what was done since any part.
    fn cut_power(&mut self, node: Node) {
        let keep =
            if self.random.coin() { Keep::Nothing } else { Keep::Some(self.random.number()) };
        let (busy_since, done) = self.machine(node).operations();
        let moment = busy_since + self.random.below(done - busy_since + 1);
        if let Some(disk) = &mut self.machine(node).disk {
            disk.end_power(moment, keep);
        }
    }

    /// Takes a machine down that was to crash in the middle of its next writes, if it has by now.
    pub(crate) fn strike(&mut self, node: Node) -> bool {
        let machine = self.machine(node);
        if !machine.disk.as_ref().is_some_and(SickDisk::is_dead) {
            return false;
        }
        let Some(crash) = machine.doomed.take() else { return false };
        self.counts.add("crash: in a write");
        self.crash(node, crash);
        true
    }

    /// What somebody has to do by hand for roles that were told what was not so: start them again,
    /// and take away what the metronome signed for a chain that there is not.
    fn set_right(&mut self) {
        let down = Millis(100);
        for (caller, node) in [(Caller::Pool, Node::Pool), (Caller::Metronome, Node::Metronome)] {
            if !self.judge.misled.remove(&caller) {
                continue;
            }
            self.counts.add("set right by hand");
            if self.machine(node).is_up {
                self.crash(node, Crash { is_power: false, down });
            }
            if node == Node::Metronome {
                let seed = self.random.number();
                self.machine(node).disk = Some(SickDisk::new(seed));
                self.judge.forget_made();
            }
        }
    }

    /// Ends all faults: whoever is down comes up, and what is to be done can be done.
    pub(crate) fn quieten(&mut self) {
        self.is_quiet = true;
        self.plan.calm();
        self.links = crate::network::Links::default();
        for node in SERVERS {
            self.ail(node, None);
        }
        self.set_right();
        let now = self.now;
        for node in honest() {
            let machine = self.machine(node);
            (machine.doomed, machine.doomed_start) = (None, None);
            machine.disk.iter().for_each(SickDisk::end_process);
            machine.paused_until = machine.paused_until.min(now);
            if !machine.is_up {
                self.schedule(START, Event::Start(node));
            }
        }
    }
}
