//! Dealing words out to many lists at once.
//!
//! A list gets a cache line at a time: eight words are gathered in a buffer that stays in the
//! cache, and only then written to the list, past the cache.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "hot loops over our own records; the caller's lists bound every index"
)]

use super::{
    super::BuildError,
    arena::{Arena, Chunk},
    line::{LINE, Line, fence, stream, words_mut},
};

/// The lists of one thread.
#[derive(Debug)]
pub(super) struct Scatter<'s, 'a> {
    arena: &'s Arena<'a>,
    lines: Vec<Line>,
    fills: Vec<u8>,
    tails: Vec<Tail<'a>>,
    lists: Vec<Vec<Chunk<'a>>>,
    failed: Option<BuildError>,
}

/// The chunk that a list is written to.
#[derive(Debug, Default)]
struct Tail<'a> {
    lines: &'a mut [Line],
    /// Lines that are full.
    used: usize,
}

impl<'s, 'a> Scatter<'s, 'a> {
    /// Starts `count` empty lists.
    pub(super) fn new(arena: &'s Arena<'a>, count: usize) -> Self {
        Self {
            arena,
            lines: vec![[0; 4]; count],
            fills: vec![0; count],
            tails: (0..count).map(|_| Tail::default()).collect(),
            lists: (0..count).map(|_| Vec::new()).collect(),
            failed: None,
        }
    }

    /// Appends `word` to a list; whether that worked is what [`Scatter::check`] tells.
    #[inline]
    pub(super) fn push(&mut self, list: usize, word: u64) {
        let fill = &mut self.fills[list];
        words_mut(std::slice::from_mut(&mut self.lines[list]))[usize::from(*fill) % LINE] = word;
        *fill += 1;
        if usize::from(*fill) == LINE {
            *fill = 0;
            self.flush(list);
        }
    }

    /// What went wrong since the last call.
    pub(super) fn check(&mut self) -> Result<(), BuildError> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Moves a line to its list.
    #[inline]
    fn flush(&mut self, list: usize) {
        let tail = &mut self.tails[list];
        if tail.used == tail.lines.len() {
            self.renew(list);
        }
        let tail = &mut self.tails[list];
        // There is none if the build has failed.
        if let Some(line) = tail.lines.get_mut(tail.used) {
            stream(line, &self.lines[list]);
            tail.used += 1;
        }
    }

    /// Gives a list whose chunk is full another one.
    #[cold]
    fn renew(&mut self, list: usize) {
        let Tail { lines, used } = std::mem::take(&mut self.tails[list]);
        let next = if used == 0 {
            self.arena.take_first()
        } else {
            // It may be written to disk or read by another thread from now on.
            fence();
            self.lists[list].push(self.arena.retire(lines));
            self.arena.take()
        };
        match next {
            Ok(lines) => self.tails[list] = Tail { lines, used: 0 },
            Err(error) => self.failed = Some(error),
        }
    }

    /// Ends every list; an empty one has no chunks.
    pub(super) fn finish(mut self) -> Result<Vec<Vec<Chunk<'a>>>, BuildError> {
        for list in 0..self.lines.len() {
            let count = usize::from(self.fills[list]);
            if count > 0 {
                self.flush(list);
            }
            let Tail { lines, used } = std::mem::take(&mut self.tails[list]);
            if used > 0 {
                let used = used * LINE - (LINE - count) % LINE;
                self.lists[list].push(Chunk::Ram { lines, used });
            }
        }
        fence();
        self.check()?;
        Ok(self.lists)
    }
}
