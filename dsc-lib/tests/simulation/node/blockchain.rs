//! The blockchain server, as the program runs it: blocks are checked and stored one after the other
//! while questions are answered, and nothing is acknowledged before the disk has it.

use std::{collections::VecDeque, sync::Arc};

use dsc_lib::{
    block::Header,
    codec,
    ledger::{Ledger, Maintained, OpenError, OpenOptions, StoreError},
    role::{
        Answer, Call, Lost, Refusal,
        blockchain::{Blockchain, Evidence, EvidenceError, Stored, SubmitError, summaries},
    },
    units::Millis,
};

use crate::{
    disk::healthy,
    event::{Asked, Event, Node},
    faults::Crash,
    world::World,
};

/// How far ahead of the server's clock a block may be, as in the program.
const AHEAD_MAX: Millis = Millis(2 * 60 * 60 * 1000);
/// Time until somebody starts a server again that takes no more blocks.
const RESTART: Millis = Millis(1000);

/// The server, while it is up.
#[derive(Debug, Default)]
pub(crate) struct BlockchainNode {
    pub(crate) server: Option<Blockchain>,
    storing: Option<Storing>,
    /// Blocks that wait until the one before is stored.
    turns: VecDeque<Asked>,
}

/// A block on its way to the disk.
#[derive(Debug)]
struct Storing {
    ticket: u64,
    asked: Asked,
    stored: Result<Stored, SubmitError>,
}

impl BlockchainNode {
    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        self.server.as_ref().map(Blockchain::ledger)
    }
}

impl World {
    pub(crate) fn start_blockchain(&mut self) -> bool {
        let disk = self.machine(Node::Blockchain).disk.clone().unwrap();
        let default = OpenOptions::default();
        let fresh_bytes_max = if self.plan.is_eager { 0 } else { default.fresh_bytes_max };
        let options = OpenOptions { fresh_bytes_max, ..default };
        let chain = self.chain();
        let opened = Ledger::with_disk(Arc::new(disk.clone()), Some(chain), options, |_, _| {});
        match opened {
            Ok(ledger) => {
                if ledger.recovery().torn.is_some() {
                    self.counts.add("torn block cut off");
                }
                let counts = &mut self.counts;
                healthy(&disk, || self.judge.reopened(&ledger, counts));
                let evidence = match Evidence::open(disk, ledger.state().chain()) {
                    Ok(evidence) => evidence,
                    Err(EvidenceError::Disk(_)) => return false,
                    Err(error) => panic!("the evidence cannot be opened: {error}"),
                };
                self.blockchain.server = Some(Blockchain::with_evidence(ledger, evidence));
                true
            }
            Err(OpenError::Store(StoreError::Io { .. })) => {
                self.counts.add("ledger not opened");
                false
            }
            Err(error) => panic!("the ledger cannot be opened: {error}"),
        }
    }

    pub(crate) fn serve_blockchain(&mut self, asked: Asked) {
        if self.ledger_lies(&asked) {
            return;
        }
        if matches!(asked.call, Call::SubmitBlock(_)) {
            self.blockchain.turns.push_back(asked);
            return self.next_turn();
        }
        let answer = self.answer_blockchain(&asked.call);
        self.answer_or_park(asked, &answer);
    }

    pub(crate) fn answer_blockchain(&mut self, call: &Call) -> Result<Answer, Lost> {
        let Some(server) = &self.blockchain.server else { return Err(Lost::new("not there")) };
        let answer = match call {
            Call::Snapshot => server.snapshot().map(Answer::Snapshot),
            Call::Blocks { from, .. } => server.blocks(*from).map(Answer::Blocks),
            Call::ChainInfo => server.info().map(|info| Answer::ChainInfo(Box::new(info))),
            Call::Summaries { before, max } => {
                let recent = server.recent_summaries(*before, *max);
                let (archive, chain) = (server.archive(), server.ledger().state().chain());
                summaries(archive, chain, &recent, *before, *max).map(Answer::Summaries)
            }
            Call::Audit => server.audit().run().map(|found| Answer::Audit(Some(found))),
            Call::Account(address) => Ok(Answer::Account(server.account_at(address))),
            Call::Inclusion(sought) => {
                server.inclusion(&sought.id).map(|found| Answer::Inclusion(found.map(Box::new)))
            }
            other => panic!("{other:?} is not for the blockchain server"),
        };
        match answer {
            Err(StoreError::Corrupt { what }) => panic!("the store is damaged: {what}"),
            other => other.map_err(Lost::new),
        }
    }

    /// Checks the next block that waits, and hands it to the disk.
    fn next_turn(&mut self) {
        while self.blockchain.storing.is_none()
            && let Some(asked) = self.blockchain.turns.pop_front()
        {
            let Call::SubmitBlock(bytes) = &asked.call else { continue };
            if let Some(refusal) = self.ahead(bytes) {
                self.reply(&asked, &Ok(Answer::Refused(refusal)));
                continue;
            }
            let Some(server) = &self.blockchain.server else { return };
            let submission = server.begin(bytes.clone().to_vec());
            self.machine(Node::Blockchain).begin_write();
            let stored = submission.run();
            if self.strike(Node::Blockchain) {
                return;
            }
            let ticket = self.queue.ticket();
            self.blockchain.storing = Some(Storing { ticket, asked, stored });
            let time = self.disk_time(Node::Blockchain);
            self.schedule(time, Event::Stored(Node::Blockchain, ticket));
        }
    }

    /// The program refuses what no clock that is nearly right can have made.
    fn ahead(&self, bytes: &[u8]) -> Option<Refusal> {
        let (header, _) = codec::decode_first::<Header>(bytes).ok()?;
        let max = self.now_of(Node::Blockchain).plus(AHEAD_MAX);
        (header.time > max).then(|| Refusal::new("block-ahead", "the block's time is ahead"))
    }

    /// The disk has the block: only now the ledger moves, and whoever sent it hears of that.
    pub(crate) fn stored_block(&mut self, ticket: u64) {
        let Some(Storing { asked, stored, .. }) =
            self.blockchain.storing.take_if(|storing| storing.ticket == ticket)
        else {
            return;
        };
        self.machine(Node::Blockchain).end_write();
        let disk = self.machine(Node::Blockchain).disk.clone().unwrap();
        let Some(server) = &mut self.blockchain.server else { return };
        let accepted = stored.and_then(|mut stored| server.finish(&mut stored));
        let answer = match accepted {
            Ok(accepted) => {
                healthy(&disk, || self.judge.accepted(server.ledger(), accepted));
                Ok(Answer::BlockAccepted(accepted))
            }
            Err(error) => match error.refusal() {
                Some(refusal) => Ok(Answer::Refused(refusal)),
                None => return self.store_failed(&asked, &error),
            },
        };
        self.reply(&asked, &answer);
        if !self.maintain() {
            self.unpark(Node::Blockchain);
            self.next_turn();
        }
    }

    fn store_failed(&mut self, asked: &Asked, error: &SubmitError) {
        self.counts.add("block not stored");
        let text = error.to_string();
        assert!(!text.contains("damaged"), "{text}");
        self.reply(asked, &Err(Lost::new(&text)));
        if text.contains("until the ledger is opened again") {
            self.counts.add("ledger halted");
            self.crash(Node::Blockchain, Crash { is_power: false, down: RESTART });
        } else {
            self.next_turn();
        }
    }

    /// Keeps the index in order, beside the answers; says whether the machine crashed over it.
    fn maintain(&mut self) -> bool {
        let Some(server) = &self.blockchain.server else { return true };
        while matches!(server.archive().maintain(), Ok(Maintained::More)) {}
        self.strike(Node::Blockchain)
    }
}
