//! Blocks by way of the log that the servers of a chain share.
//!
//! # Invariants
//!
//! 1. A block is appended after the entry that this server has applied last, so that the log itself
//!    decides between two of one height; then it is stored and applied as alone.
//! 2. An entry is applied by the same checks as a block that is handed in. One that breaks a rule
//!    is passed over, and counted, by all alike: the position moves, the height does not.
//! 3. Nothing is applied across a gap: what the log has lost comes from another server, checked as
//!    ever. A log that ends before what was read of it, or shows something else there, is neither
//!    followed nor appended to.
//! 4. All of that is done in turn; the engine is read beside it.

use std::sync::{MutexGuard, PoisonError};

use dsc_lib::{
    block::{BlockHash, Header},
    cluster::{
        AppendError, Entry, Position, ReadError, Unavailable,
        lease::Record,
        settle::{self, Appended},
    },
    ledger::BlockError,
    role::blockchain::{Accepted, Bookmark, FollowFault, Sound, SubmitError, tells_apart},
    units::Height,
};

use super::{Server, faults::Fault, member::Member};
use crate::crash::{self, Point};

/// How often an append without an acknowledgement is tried before the sender is told so.
const APPENDS_MAX: u32 = 3;
/// How often a block is checked again because others were first.
const ROUNDS_MAX: usize = 8;
/// How often an entry may be found missing before it is asked of other servers.
const MISSES_MAX: u32 = 2;

/// How far this server is along the log; nothing of it counts alone.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The last entry read; nothing before it was found.
    mark: Option<Bookmark>,
    /// Whether the log showed that entry since the engine made trouble last.
    is_sure: bool,
    /// What the log was found to have lost, and how often.
    missed: Option<(Position, u32)>,
}

impl Turn {
    fn read(&mut self, mark: Bookmark) {
        *self = Self { mark: Some(mark), is_sure: true, missed: None };
    }

    /// Counts that the log was found to have lost what was at `position`; whether it is time to ask
    /// other servers, for another node of the engine may have it.
    fn is_missed(&mut self, position: Position) -> bool {
        let before = self.missed.filter(|missed| missed.0 == position).map_or(0, |missed| missed.1);
        self.missed = Some((position, before.saturating_add(1)));
        before >= MISSES_MAX
    }

    /// The log is looked at again before anything more comes of it, at another node if this one is
    /// not what it was.
    fn doubt(&mut self, member: &Member, fault: &Fault) {
        self.is_sure &= !fault.is_of_the_engine();
        if fault.is_of_the_node() {
            member.distrust();
        }
    }
}

impl Server {
    pub(super) fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last block applied. The state itself is not held: it would be copied by the next one.
    pub(super) fn tip(&self) -> (Option<Height>, BlockHash) {
        let held = self.shared.lock();
        let state = held.ledger().state();
        (state.height(), state.tip().hash)
    }

    /// Checks a block against what this server has applied.
    fn check<B: AsRef<[u8]>>(&self, block: B) -> Result<Sound<B>, SubmitError> {
        let submission = self.shared.lock().begin(block);
        submission.check()
    }

    /// Stores a block and moves on by it.
    fn keep<B: AsRef<[u8]>>(&self, sound: Sound<B>) -> Result<Accepted, SubmitError> {
        let mut stored = sound.store()?;
        crash::point(Point::BlockchainStored);
        let accepted = self.shared.lock().finish(&mut stored)?;
        crash::point(Point::BlockchainApplied);
        self.shared.changed();
        Ok(accepted)
    }

    /// Checks and stores a block, with the agreement of the other servers if there are any. Whoever
    /// submits the same block meanwhile waits for this one, and is told the same.
    pub(super) fn submit(&self, block: &[u8]) -> Result<Accepted, Fault> {
        let mut turn = self.turn();
        crash::point(Point::BlockchainReceived);
        match &self.member {
            None => Ok(self.keep(self.check(block)?)?),
            Some(member) => {
                let agreed = self.agree(member, &mut turn, block);
                if let Err(fault) = &agreed {
                    turn.doubt(member, fault);
                }
                agreed
            }
        }
    }

    fn agree(&self, member: &Member, turn: &mut Turn, block: &[u8]) -> Result<Accepted, Fault> {
        for _ in 0..ROUNDS_MAX {
            let sound = match self.check(block) {
                Ok(sound) => sound,
                Err(error) if is_further(&error) => {
                    self.catch_up(member, turn, error)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Some(header) = sound.header() else { return Ok(sound.accepted()) };
            self.require_lease(member, header)?;
            let after = self.place(member, turn)?.position();
            if !member.has_looked() {
                self.note(member)?;
            }
            if let Some(other) = member.outrun(after) {
                // Others have read further: then so can this one, or the log has lost its end.
                if self.read_on(member, turn)? == 0 {
                    return Err(Fault::CutOff { position: after, other: Box::new(other) });
                }
                continue;
            }
            if let Some(accepted) = self.append(member, turn, after, sound)? {
                return Ok(accepted);
            }
        }
        Err(AppendError::Unknown { reason: "others are always first".into() }.into())
    }

    /// Refuses the block of a metronome if another one leads, or if no lease up to now has its epoch.
    ///
    /// One of an older lease of the same metronome may come: what it has signed for a height is all
    /// that it can ever sign for it.
    fn require_lease(&self, member: &Member, header: &Header) -> Result<(), Fault> {
        let Some(Record { holder: leader, epoch: granted, released, .. }) =
            member.lease(&self.chain)?
        else {
            return Ok(());
        };
        let (signer, epoch) = (header.metronome, header.epoch);
        match () {
            () if signer != leader && !released => Err(Fault::NotLeader { got: signer, leader }),
            () if epoch > granted => Err(Fault::NotGranted { got: epoch, granted }),
            () => Ok(()),
        }
    }

    /// Puts a block into the log, then onto the ledger; nothing if others were first.
    fn append(
        &self,
        member: &Member,
        turn: &mut Turn,
        after: Position,
        sound: Sound<&[u8]>,
    ) -> Result<Option<Accepted>, Fault> {
        let (id, bytes): (BlockHash, &[u8]) = (sound.accepted().hash, sound.bytes());
        let log = &*member.cluster.blocks;
        match settle::append(log, after, &id, bytes, APPENDS_MAX)? {
            Appended::Mine(position) => {
                crash::point(Point::ClusterAppended);
                let mark = Bookmark::of_own(position, bytes);
                let accepted = self.keep(sound)?;
                turn.read(mark);
                member.reached(position);
                Ok(Some(accepted))
            }
            Appended::Other(entries) => {
                self.take_all(member, turn, &entries)?;
                Ok(None)
            }
            other => {
                let reason = format!("{other:?}");
                Err(AppendError::Unknown { reason }.into())
            }
        }
    }

    /// Reads on because a block is further along than this server.
    fn catch_up(&self, member: &Member, turn: &mut Turn, error: SubmitError) -> Result<(), Fault> {
        self.place(member, turn)?;
        if self.read_on(member, turn)? > 0 {
            return Ok(());
        }
        match error {
            SubmitError::Block(BlockError::Height { got, expected }) => {
                Err(Fault::Behind { got, next: expected })
            }
            error => Err(error.into()),
        }
    }

    /// Where this server is along the log, which is seen to be the same as ever.
    fn place(&self, member: &Member, turn: &mut Turn) -> Result<Bookmark, Fault> {
        let log = &*member.cluster.blocks;
        let mark = match turn.mark {
            Some(mark) if turn.is_sure => return Ok(mark),
            Some(mark) => match mark.verify(log) {
                // What it was is lost, and it is the last one that this server needs to know.
                Err(FollowFault::Unsure { .. }) => mark,
                verified => verified.map(|()| mark)?,
            },
            None => self.find(member, turn)?,
        };
        (turn.mark, turn.is_sure) = (Some(mark), true);
        member.reached(mark.position());
        Ok(mark)
    }

    /// Where the log has the own tip. If it has lost that, whoever had come there has said where.
    fn find(&self, member: &Member, turn: &mut Turn) -> Result<Bookmark, Fault> {
        let (log, (height, hash)) = (&*member.cluster.blocks, self.tip());
        let fault = match Bookmark::find(log, height, &hash) {
            Err(FollowFault::TipLost { position, height, hash }) if turn.is_missed(position) => {
                FollowFault::TipLost { position, height, hash }
            }
            found => return Ok(found?),
        };
        let own = (height, Some(hash));
        let mut said = member.said()?;
        said.retain(|note| (note.height, note.hash) == own);
        said.sort_by_key(|note| note.position);
        let found = said.into_iter().find_map(|note| {
            let mark = Bookmark::told(log, &fault, Position(note.position)).ok()?;
            Some((mark, note.url))
        });
        let (mark, from) = found.ok_or(fault)?;
        member.fill(mark.position(), &from);
        Ok(mark)
    }

    /// Reads and takes what comes next in the log; returns how many entries it was.
    fn read_on(&self, member: &Member, turn: &mut Turn) -> Result<usize, Fault> {
        let mark = self.place(member, turn)?;
        let entries = mark.read(&*member.cluster.blocks)?;
        self.take_all(member, turn, &entries)?;
        Ok(entries.len())
    }

    fn take_all(&self, member: &Member, turn: &mut Turn, entries: &[Entry]) -> Result<(), Fault> {
        entries.iter().try_for_each(|entry| self.take(member, turn, entry))
    }

    /// Applies the next entry of the log, or passes over it.
    fn take(&self, member: &Member, turn: &mut Turn, entry: &Entry) -> Result<(), Fault> {
        let mark = self.place(member, turn)?;
        let next = mark.position().next();
        if entry.position < next {
            return Ok(());
        }
        if entry.position > next {
            let reason = format!("it gave the one at {} for it", entry.position);
            return Err(FollowFault::from(ReadError::Missing { position: next, reason }).into());
        }
        crash::point(Point::ClusterFollowed);
        match self.check(entry.bytes.as_slice()) {
            Ok(sound) => {
                self.keep(sound)?;
            }
            Err(error) if error.is_of_the_block() => {
                if tells_apart(&error) {
                    mark.verify(&*member.cluster.blocks)?;
                }
                member.skip(entry.position, &error);
            }
            Err(error) => return Err(error.into()),
        }
        turn.read(Bookmark::at(entry));
        member.reached(entry.position);
        Ok(())
    }

    /// Takes what is new in the log; returns how many entries it was.
    pub(super) fn follow(&self, member: &Member) -> Result<usize, Fault> {
        let followed = self.follow_once(member);
        match &followed {
            Ok(_) => member.trust(),
            Err(fault) => self.turn().doubt(member, fault),
        }
        member.tell(followed.as_ref().err().map(ToString::to_string));
        followed
    }

    fn follow_once(&self, member: &Member) -> Result<usize, Fault> {
        let mark = self.place(member, &mut self.turn())?;
        let entries = match mark.read(&*member.cluster.blocks) {
            Err(fault) => return self.missed(member, mark, fault),
            Ok(entries) => entries,
        };
        for entry in &entries {
            self.take(member, &mut self.turn(), entry)?;
        }
        if entries.is_empty() {
            member.reached(mark.position());
        }
        Ok(entries.len())
    }

    /// What to do about an entry that cannot be read: first another node is asked, then others.
    fn missed(&self, member: &Member, mark: Bookmark, fault: FollowFault) -> Result<usize, Fault> {
        let FollowFault::Read(ReadError::Missing { position, .. }) = fault else {
            return Err(fault.into());
        };
        let mut turn = self.turn();
        if turn.mark != Some(mark) || position != mark.position().next() {
            return Err(fault.into());
        }
        if !turn.is_missed(position) {
            return Err(fault.into());
        }
        drop(turn);
        let found = self.ask_siblings(member, position)?;
        let mut turn = self.turn();
        if turn.mark == Some(mark) {
            self.fill(member, &mut turn, position, found)?;
        }
        Ok(1)
    }

    /// Goes past an entry that the log has lost.
    fn fill(
        &self,
        member: &Member,
        turn: &mut Turn,
        position: Position,
        (from, block): (String, Option<Vec<u8>>),
    ) -> Result<(), Fault> {
        if let Some(block) = block {
            self.keep(self.check(block)?)?;
        }
        member.fill(position, &from);
        turn.read(Bookmark::past_lost(position));
        member.reached(position);
        Ok(())
    }

    /// Says on the board how far this server has come, and looks at what the others say.
    pub(super) fn note(&self, member: &Member) -> Result<(), Unavailable> {
        let (height, hash) = self.tip();
        let own = member.own_note(height.map(|height| (height, hash)));
        let put = member.put(&own)?;
        crash::point(Point::ClusterNoted);
        member.look(&own, put, |height, hash| {
            let header = self.archive.header(height).ok().flatten()?;
            Some(header.hash() == *hash)
        })
    }
}

/// Whether the block would come after ones that this server does not have yet.
fn is_further(error: &SubmitError) -> bool {
    match error {
        SubmitError::Block(BlockError::Height { got, expected }) => got > expected,
        SubmitError::Block(BlockError::Parent { .. }) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
