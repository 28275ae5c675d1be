//! How roles are asked and driven, as the program does it: one call or piece of work at a time each.

use dsc_lib::{
    ledger::State,
    role::{Active, Answer, Call, Finished, Lost, Next, Work},
    units::Millis,
};

use crate::{
    event::{Asked, Caller, Event, Node, server_of, wait_of},
    judge::Judge,
    world::World,
};

/// Time it takes to check or draft a block.
const WORK_MS: std::ops::RangeInclusive<u64> = 1..=90;

impl World {
    pub(crate) fn serve(&mut self, asked: Asked) {
        match server_of(&asked.call) {
            Node::Blockchain => self.serve_blockchain(asked),
            Node::Pool => self.serve_pool(asked),
            _ => self.serve_metronome(asked),
        }
    }

    /// Answers now, or when there is something new if the caller waits for that.
    pub(crate) fn answer_or_park(&mut self, asked: Asked, answer: &Result<Answer, Lost>) {
        let (node, wait) = (server_of(&asked.call), wait_of(&asked.call));
        if wait == Millis(0) || !is_nothing_new(answer) {
            return self.reply(&asked, answer);
        }
        self.schedule(wait, Event::Overdue(node, asked.ticket));
        self.parked.entry(node).or_default().push(asked);
    }

    /// Answers those who wait for something new, if there is.
    pub(crate) fn unpark(&mut self, node: Node) {
        for asked in self.parked.remove(&node).unwrap_or_default() {
            let answer = self.answer_again(node, &asked.call);
            if is_nothing_new(&answer) {
                self.parked.entry(node).or_default().push(asked);
            } else {
                self.reply(&asked, &answer);
            }
        }
    }

    fn answer_again(&mut self, node: Node, call: &Call) -> Result<Answer, Lost> {
        if node == Node::Blockchain {
            self.answer_blockchain(call)
        } else {
            self.answer_metronome(call)
        }
    }

    pub(crate) fn overdue(&mut self, node: Node, ticket: u64) {
        let Some(parked) = self.parked.get_mut(&node) else { return };
        let Some(index) = parked.iter().position(|asked| asked.ticket == ticket) else { return };
        let asked = parked.remove(index);
        let answer = self.answer_again(node, &asked.call);
        self.reply(&asked, &answer);
    }

    /// Whether the caller still waits for this; it does no longer then.
    pub(crate) fn take_ticket(&mut self, caller: Caller, ticket: u64) -> bool {
        let is_waited_for = self.waiting.get(&caller) == Some(&ticket);
        if is_waited_for {
            self.waiting.remove(&caller);
        }
        is_waited_for
    }

    /// Hands an answer over, unless it comes after the caller has given up on it.
    pub(crate) fn deliver(&mut self, caller: Caller, ticket: u64, answer: Result<Answer, Lost>) {
        if !self.take_ticket(caller, ticket) {
            return;
        }
        let now = self.now_of(caller.node());
        match caller {
            Caller::Validator(index) => self.validator(index).answer(now, answer),
            Caller::Forger => self.forged(&answer),
            Caller::Cheat => self.cheated(&answer),
            Caller::Thief => self.stole(&answer),
            _ => self.active(caller).answer(now, answer),
        }
        self.moved(caller);
        self.wake(caller);
    }

    fn active(&mut self, caller: Caller) -> &mut dyn Active {
        match caller {
            Caller::Pool => self.pool.role.as_mut().expect("it is up"),
            Caller::Metronome => self.metronome.role.as_mut().expect("it is up"),
            Caller::Monitor => &mut self.clients.monitor,
            Caller::Payment(index) => &mut self.clients.payers[index].payment,
            other => panic!("{other:?} is not driven this way"),
        }
    }

    /// Looks at a role that has taken an answer or what came of its work.
    fn moved(&mut self, caller: Caller) {
        let follows = |judge: &Judge, state: &State| judge.follows(caller, state);
        match caller {
            Caller::Pool => {
                let role = self.pool.role.as_ref().expect("it is up");
                follows(&self.judge, role.replica().state());
                self.follow_pool();
            }
            Caller::Metronome => {
                let role = self.metronome.role.as_ref().expect("it is up");
                follows(&self.judge, role.replica().state());
                self.unpark(Node::Metronome);
            }
            Caller::Payment(index) => {
                let payment = &self.clients.payers[index].payment;
                if let Some(id) = payment.id() {
                    self.judge.signed(id);
                    if payment.end().is_some() {
                        self.judge.ended(id);
                    }
                }
            }
            _ => {}
        }
    }

    /// Asks a caller that waits for nothing what to do.
    pub(crate) fn wake(&mut self, caller: Caller) {
        // It may just have crashed over what it wrote.
        if self.waiting.contains_key(&caller) || !self.machine(caller.node()).is_up {
            return;
        }
        match caller {
            Caller::Validator(index) => self.wake_validator(index),
            Caller::Forger => self.wake_forger(),
            Caller::Cheat => self.wake_cheat(),
            Caller::Thief => self.wake_thief(),
            _ => self.wake_active(caller),
        }
    }

    fn wake_active(&mut self, caller: Caller) {
        let now = self.now_of(caller.node());
        match self.active(caller).next(now) {
            Next::Call(call) => {
                if let (Caller::Metronome, Call::SubmitBlock(bytes)) = (caller, &call) {
                    self.judge.made(bytes);
                }
                self.call(caller, &call);
            }
            Next::Work(work) => self.work(caller, work),
            Next::Wait(until) => self.wake_at(caller, until),
            _ => {}
        }
        if caller == Caller::Metronome {
            // Asking what to do next may have opened a round.
            self.unpark(Node::Metronome);
        }
    }

    /// Lets a role compute, and write what it must; until it is done others ask it what they like.
    fn work(&mut self, caller: Caller, work: Work) {
        let node = caller.node();
        self.machine(node).begin_write();
        let done = work.run();
        if self.strike(node) {
            return;
        }
        let ticket = self.queue.ticket();
        let time = self.random.millis(&WORK_MS).plus(self.disk_time(node));
        self.waiting.insert(caller, ticket);
        self.schedule(time, Event::Worked(caller, ticket, done));
    }

    pub(crate) fn worked(&mut self, caller: Caller, ticket: u64, done: Finished) {
        if self.take_ticket(caller, ticket) {
            self.machine(caller.node()).end_write();
            let now = self.now_of(caller.node());
            self.active(caller).finish(now, done);
            self.moved(caller);
            self.wake(caller);
        }
    }

    /// Asks the caller again when its clock shows `until`.
    pub(crate) fn wake_at(&mut self, caller: Caller, until: Millis) {
        let pause = self.machines[&caller.node()].clock.pause(self.now, until);
        let ticket = self.queue.ticket();
        self.alarms.insert(caller, ticket);
        self.schedule(pause, Event::Wake(caller, ticket));
    }
}

/// Whether the answer is that there is nothing new.
fn is_nothing_new(answer: &Result<Answer, Lost>) -> bool {
    match answer {
        Ok(Answer::Blocks(blocks)) => blocks.is_empty(),
        Ok(Answer::Round(round)) => round.is_none(),
        _ => false,
    }
}
