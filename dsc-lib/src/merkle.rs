//! Merkle trees in the shape of RFC 6962: an odd node moves up, nothing is duplicated.
//!
//! # Invariants
//!
//! 1. A leaf and an inner node never hash alike: they have different contexts.
//! 2. [`InclusionProof::verify`] accepts exactly what [`InclusionProof::new`] makes: a path that
//!    is too long, too short or for another place fails.
//!
//! Source: RFC 6962 section 2.1, RFC 9162 section 2.1.3.

use bincode::{Decode, Encode};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    codec::List,
    hash::{Context, Digest, derive},
};

/// Leaves hashed by one task; below this a second thread costs more than it saves.
const LEAVES_PER_TASK: usize = 64;

/// Returns the leaf of an item's canonical bytes.
pub fn leaf(item: &[u8]) -> Digest {
    derive(Context::MerkleLeaf, &[item])
}

/// Returns the leaves of the canonical bytes of `items`, hashed in parallel.
pub fn leaves<T: Sync>(items: &[T], bytes: impl Fn(&T) -> &[u8] + Sync) -> Vec<Digest> {
    let items = items.par_iter().with_min_len(LEAVES_PER_TASK);
    items.map(|item| leaf(bytes(item))).collect()
}

fn node(left: &Digest, right: &Digest) -> Digest {
    derive(Context::MerkleNode, &[left.as_bytes(), right.as_bytes()])
}

fn parent(pair: &[Digest]) -> Digest {
    match pair {
        [left, right] => node(left, right),
        [odd] => *odd,
        _ => Digest::ZERO,
    }
}

fn level_above(level: &[Digest]) -> Vec<Digest> {
    level.par_chunks(2).with_min_len(LEAVES_PER_TASK).map(parent).collect()
}

/// Returns the root over `leaves`; [`Digest::ZERO`] if there are none.
pub fn root(leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level_above(&level);
    }
    parent(&level)
}

/// Levels of the largest tree there can be.
const DEPTH_MAX: usize = 64;

/// The siblings between a leaf and the root.
pub type Path = List<Digest, 0, DEPTH_MAX>;

/// Shows that one leaf is at one place of a tree of known size.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct InclusionProof {
    /// The leaf's place, from 0.
    pub index: u64,
    /// Leaves in the tree.
    pub count: u64,
    /// Siblings from the leaf's upwards; a level where the node moves up has none.
    pub path: Path,
}

/// An inclusion proof that does not lead to the root.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InclusionError {
    /// The place is outside the tree.
    #[error("leaf {index} is outside a tree of {count}")]
    OutOfRange {
        /// The place claimed.
        index: u64,
        /// Leaves in the tree.
        count: u64,
    },
    /// The path has another length than the place asks for.
    #[error("the path has {got} nodes, expected {expected}")]
    PathLength {
        /// Nodes given.
        got: usize,
        /// Nodes there are between this leaf and the root.
        expected: usize,
    },
    /// The path leads to another root.
    #[error("the path leads to {got}, not to the root {expected}")]
    OtherRoot {
        /// Where it leads.
        got: Digest,
        /// The root it was held to.
        expected: Digest,
    },
}

/// The levels of a tree of `count` leaves as seen from leaf `index`: for each level whether the
/// node is a right child, is a left child with a sibling, or moves up alone.
fn steps(index: u64, count: u64) -> impl Iterator<Item = Step> {
    let mut position = (index, count.saturating_sub(1));
    std::iter::from_fn(move || {
        let (node, last) = position;
        position = (node >> 1, last >> 1);
        match (last, node & 1) {
            (0, _) => None,
            (_, 1) => Some(Step::Right),
            _ if node == last => Some(Step::Up),
            _ => Some(Step::Left),
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Left,
    Right,
    Up,
}

impl InclusionProof {
    /// Makes the proof for leaf `index` of `leaves`, or `None` if there is no such leaf.
    pub fn new(leaves: &[Digest], index: usize) -> Option<Self> {
        leaves.get(index)?;
        let (mut level, mut path) = (leaves.to_vec(), Vec::new());
        for (depth, step) in steps(index as u64, leaves.len() as u64).enumerate() {
            let place = index >> depth;
            if step != Step::Up {
                path.push(*level.get(place ^ 1)?);
            }
            level = level_above(&level);
        }
        Some(Self { index: index as u64, count: leaves.len() as u64, path: Path::new(path).ok()? })
    }

    /// Checks that `leaf` is at this place of the tree with this `root`.
    ///
    /// # Errors
    ///
    /// [`InclusionError`] naming what does not fit.
    pub fn verify(&self, leaf: Digest, root: Digest) -> Result<(), InclusionError> {
        let Self { index, count, .. } = *self;
        if index >= count {
            return Err(InclusionError::OutOfRange { index, count });
        }
        let expected = steps(index, count).filter(|step| *step != Step::Up).count();
        if self.path.len() != expected {
            return Err(InclusionError::PathLength { got: self.path.len(), expected });
        }
        match self.climb(leaf) {
            got if got == root => Ok(()),
            got => Err(InclusionError::OtherRoot { got, expected: root }),
        }
    }

    fn climb(&self, leaf: Digest) -> Digest {
        let mut siblings = self.path.iter();
        steps(self.index, self.count).fold(leaf, |below, step| match step {
            Step::Up => below,
            Step::Left => siblings.next().map_or(below, |sibling| node(&below, sibling)),
            Step::Right => siblings.next().map_or(below, |sibling| node(sibling, &below)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(count: u8) -> Vec<Digest> {
        (0..count).map(|item| leaf(&[item])).collect()
    }

    /// The recursive definition of RFC 6962, against which the level-by-level one is held.
    fn root_by_definition(leaves: &[Digest]) -> Digest {
        match leaves.len() {
            0 => Digest::ZERO,
            1 => leaves[0],
            count => {
                let (left, right) = leaves.split_at(count.next_power_of_two() / 2);
                node(&root_by_definition(left), &root_by_definition(right))
            }
        }
    }

    #[test]
    fn root_follows_the_definition() {
        for count in 0..70 {
            assert_eq!(root(&tree(count)), root_by_definition(&tree(count)), "{count} leaves");
        }
    }

    #[test]
    fn every_leaf_has_a_proof_and_no_other_place_takes_it() {
        for count in 1..40_u8 {
            let leaves = tree(count);
            let root = root(&leaves);
            for index in 0..usize::from(count) {
                let proof = InclusionProof::new(&leaves, index).unwrap();
                assert_eq!(proof.verify(leaves[index], root), Ok(()));
                let elsewhere =
                    InclusionProof { index: (index as u64 + 1) % u64::from(count), ..proof };
                assert!(count == 1 || elsewhere.verify(leaves[index], root).is_err());
            }
            assert_eq!(InclusionProof::new(&leaves, usize::from(count)), None);
        }
    }

    #[test]
    fn every_error_is_provoked() {
        let leaves = tree(5);
        let proof = InclusionProof::new(&leaves, 2).unwrap();
        let outside = InclusionProof { index: 5, ..proof.clone() };
        let error = outside.verify(leaves[2], root(&leaves)).unwrap_err();
        assert_eq!(error.to_string(), "leaf 5 is outside a tree of 5");
        let error = proof.verify(leaves[3], root(&leaves)).unwrap_err();
        assert!(matches!(error, InclusionError::OtherRoot { .. }));
        assert!(error.to_string().contains("not to the root"));
        let long = InclusionProof { path: Path::new(vec![Digest::ZERO; 9]).unwrap(), ..proof };
        let error = long.verify(leaves[2], root(&leaves)).unwrap_err();
        assert_eq!(error.to_string(), "the path has 9 nodes, expected 3");
    }

    #[test]
    fn huge_counts_are_refused_without_work() {
        let proof = InclusionProof { index: 7, count: u64::MAX, path: Path::default() };
        let error = proof.verify(Digest::ZERO, Digest::ZERO).unwrap_err();
        assert_eq!(error, InclusionError::PathLength { got: 0, expected: 64 });
    }
}
