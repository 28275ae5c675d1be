//! The pair table, which space keeps on disk and memory in RAM.
//!
//! Level 1 gives every `x` below 2^k a tag; two of them match if the top `k - 1` bits agree. Level
//! 2 gives every matching pair a tag `e`; the table is all pairs in increasing `e`.
//!
//! # Invariants
//!
//! 1. The order is total: by `e`, then `x1`, then `x2`. So the table does not depend on how many
//!    threads built it.
//! 2. `x1 < x2` in every pair.
//! 3. Shifts stay below 64 because [`Size`] is checked once, when it is made.
//!
//! Checked by the vectors in `space` and `memory` and against a naive build in `build`.

mod arena;
mod build;
mod find;
mod group;
mod join;
mod line;
mod plan;
mod queue;
mod scatter;
mod select;
mod stage;

pub(super) use arena::{Arena, temporary_file};
#[cfg(test)]
pub(super) use build::whole_table;
pub(super) use build::{Sorted, build};
pub(super) use find::{Range, Table, View};
pub(super) use plan::Plan;
pub(super) use select::{ram_bytes_least, select};

use std::cmp::Ordering;

use super::VerifyError;
use crate::{
    hash::{Context, derive},
    tag::Tagger,
};

/// log2 of the number of level-1 values, 16 to 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(u8);

impl Size {
    pub(super) const MIN: u8 = 16;
    pub(super) const MAX: u8 = 32;

    pub(super) fn new(k: u8) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&k).then_some(Self(k))
    }

    /// The size a parameter asks for; parameters are checked when they are read.
    pub(super) fn from_param(k: u64) -> Self {
        let size = u8::try_from(k).ok().and_then(Self::new);
        size.expect("the parameter's range is the range of sizes")
    }

    pub(super) const fn k(self) -> u8 {
        self.0
    }

    pub(super) fn bits(self) -> u32 {
        self.0.into()
    }

    /// Number of level-1 values.
    pub(super) const fn values(self) -> u64 {
        1 << self.0
    }
}

/// The top `bits` bits of `tag`; `bits` is 1 to 63.
pub(super) const fn top(tag: u64, bits: u32) -> u64 {
    tag >> 64_u32.saturating_sub(bits)
}

/// Two matching values: `x1` in the low half, `x2` in the high half, which is also the number
/// whose tag orders the table, and little-endian the 8 bytes of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair(pub(super) u64);

impl Pair {
    pub(super) const LEN: usize = 8;

    #[allow(clippy::cast_possible_truncation, reason = "the low half")]
    pub(super) const fn x1(self) -> u32 {
        self.0 as u32
    }

    pub(super) const fn x2(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0.to_le_bytes()
    }

    pub(super) const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// Reads as many pairs as `bytes` hold.
    pub(super) fn read_all(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.as_chunks().0.iter().map(|bytes| Self::from_bytes(*bytes))
    }
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rotate_left(32).cmp(&other.0.rotate_left(32))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A pair and the tag that places it in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Placed {
    pub(super) e: u64,
    pub(super) pair: Pair,
}

/// The two tags of one table.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    size: Size,
    level1: Tagger,
    level2: Tagger,
}

impl Levels {
    pub(super) fn new(size: Size, contexts: [Context; 2], identity: &[&[u8]]) -> Self {
        let [level1, level2] =
            contexts.map(|context| Tagger::new(derive(context, identity).as_bytes()));
        Self { size, level1, level2 }
    }

    /// Checks one pair and returns its `e`.
    pub(super) fn check(&self, pair: Pair) -> Result<u64, VerifyError> {
        self.check_members(pair)?;
        let (y1, y2) = (self.level1.tag(pair.x1().into()), self.level1.tag(pair.x2().into()));
        self.check_match(pair, y1, y2)?;
        Ok(self.level2.tag(pair.0))
    }

    /// Checks `pairs` in order and returns their `e`; much faster than one by one.
    pub(super) fn check_all(&self, pairs: &[Pair]) -> Result<Vec<u64>, VerifyError> {
        pairs.iter().try_for_each(|&pair| self.check_members(pair))?;
        let members: Vec<u64> =
            pairs.iter().flat_map(|pair| [pair.x1().into(), pair.x2().into()]).collect();
        let tags = tags(&self.level1, &members);
        for (&pair, &[y1, y2]) in pairs.iter().zip(tags.as_chunks().0) {
            self.check_match(pair, y1, y2)?;
        }
        Ok(tags_of(&self.level2, pairs))
    }

    fn check_members(&self, pair: Pair) -> Result<(), VerifyError> {
        let (x1, x2, max) = (pair.x1(), pair.x2(), self.size.values().saturating_sub(1));
        for (field, got) in [("x1", x1.into()), ("x2", x2.into())] {
            if got > max {
                return Err(VerifyError::OutOfRange { field, got, min: 0, max });
            }
        }
        if x1 >= x2 {
            return Err(VerifyError::Order { x1, x2 });
        }
        Ok(())
    }

    fn check_match(&self, pair: Pair, y1: u64, y2: u64) -> Result<(), VerifyError> {
        let bits = self.size.bits().saturating_sub(1);
        if top(y1, bits) == top(y2, bits) {
            Ok(())
        } else {
            Err(VerifyError::NoMatch { x1: pair.x1(), x2: pair.x2() })
        }
    }
}

fn tags(tagger: &Tagger, inputs: &[u64]) -> Vec<u64> {
    let mut tags = vec![0; inputs.len()];
    tagger.fill_slice(inputs, &mut tags);
    tags
}

/// The tags of `pairs`, in order.
pub(super) fn tags_of(tagger: &Tagger, pairs: &[Pair]) -> Vec<u64> {
    tags(tagger, &pairs.iter().map(|pair| pair.0).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_ordered_by_its_first_member() {
        let pair = |x1: u64, x2: u64| Pair(x1 | x2 << 32);
        assert!(pair(1, 9) < pair(2, 3));
        assert!(pair(1, 2) < pair(1, 3));
        assert_eq!((pair(1, 9).x1(), pair(1, 9).x2()), (1, 9));
        assert_eq!(pair(1, 9).to_bytes(), [1, 0, 0, 0, 9, 0, 0, 0]);
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(Size::new(15), None);
        assert_eq!(Size::new(33), None);
        assert_eq!(Size::new(32).unwrap().values(), 1 << 32);
        assert_eq!(top(u64::MAX, 7), 127);
    }
}
