//! What travels between machines: lost, doubled, late, out of order, or cut off.

use std::{collections::BTreeMap, ops::RangeInclusive};

use dsc_lib::{
    role::{Answer, Call, Lost},
    units::Millis,
};

use crate::{
    event::{Asked, Caller, Event, Node, server_of, wait_of},
    world::World,
};

/// Time that a late message takes: longer than anybody waits for it.
const LATE_MS: RangeInclusive<u64> = 1000..=12_000;

/// Which machines cannot reach which, and how many faults are to blame.
#[derive(Debug, Default)]
pub(crate) struct Links {
    cut: BTreeMap<(Node, Node), u32>,
    isolated: BTreeMap<Node, u32>,
}

impl Links {
    pub(crate) fn cut(&mut self, from: Node, to: Node) {
        *self.cut.entry((from, to)).or_default() += 1;
    }

    pub(crate) fn mend(&mut self, from: Node, to: Node) {
        less(&mut self.cut, &(from, to));
    }

    pub(crate) fn isolate(&mut self, node: Node) {
        *self.isolated.entry(node).or_default() += 1;
    }

    pub(crate) fn rejoin(&mut self, node: Node) {
        less(&mut self.isolated, &node);
    }

    fn carry(&self, from: Node, to: Node) -> bool {
        let is_isolated = |node| self.isolated.contains_key(&node);
        !self.cut.contains_key(&(from, to)) && !is_isolated(from) && !is_isolated(to)
    }
}

fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl World {
    /// Asks another role; the answer or that there is none comes as an event.
    pub(crate) fn call(&mut self, caller: Caller, call: &Call) {
        let ticket = self.queue.ticket();
        self.waiting.insert(caller, ticket);
        let patience = self.random.millis(&self.plan.patience_ms).plus(wait_of(call));
        self.schedule(patience, Event::Timeout(caller, ticket));
        let asked = || Event::Request(Asked { caller, ticket, call: call.clone() });
        self.send(caller.node(), server_of(call), asked);
    }

    /// Asks another role and does not listen to the answer.
    pub(crate) fn shout(&mut self, caller: Caller, call: &Call) {
        let ticket = self.queue.ticket();
        let asked = || Event::Request(Asked { caller, ticket, call: call.clone() });
        self.send(caller.node(), server_of(call), asked);
    }

    /// Answers a call, from the machine that it went to.
    pub(crate) fn reply(&mut self, asked: &Asked, answer: &Result<Answer, Lost>) {
        let Asked { caller, ticket, call } = asked;
        let replied = || Event::Reply(*caller, *ticket, answer.clone());
        self.send(server_of(call), caller.node(), replied);
    }

    fn send(&mut self, from: Node, to: Node, event: impl Fn() -> Event) {
        if !self.links.carry(from, to) {
            return self.counts.add("message cut off");
        }
        if self.random.chance(self.plan.loss) {
            return self.counts.add("message lost");
        }
        let is_doubled = self.random.chance(self.plan.doubling);
        if is_doubled {
            self.counts.add("message doubled");
        }
        for _ in 0..=u8::from(is_doubled) {
            let delay = self.delay();
            self.schedule(delay, event());
        }
    }

    fn delay(&mut self) -> Millis {
        if self.random.chance(self.plan.lateness) {
            self.counts.add("message late");
            return self.random.millis(&LATE_MS);
        }
        self.random.millis(&self.plan.delay_ms)
    }
}
