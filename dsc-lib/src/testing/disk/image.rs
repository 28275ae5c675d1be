//! What a crash leaves of what was done to a disk.

use std::collections::BTreeMap;

use super::{Dice, Keep, Operation};
use crate::disk::{Disk, Memory};

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// A file's bytes on disk, and what was done since.
#[derive(Debug, Default)]
struct FileImage {
    synced: Vec<u8>,
    since: Vec<Operation>,
}

impl FileImage {
    /// With all that was done since.
    fn whole(&self) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        self.since.iter().for_each(|change| write(&mut bytes, change, PAGE, || true));
        bytes
    }

    /// Loses any page of what was done since, for good.
    fn lose(&mut self, seed: u64) {
        let mut dice = Dice(seed);
        let kept = dice.below(4);
        for change in std::mem::take(&mut self.since) {
            write(&mut self.synced, &change, PAGE, || dice.below(4) < kept);
        }
    }

    /// As a crash leaves it.
    fn after_crash(&self, dice: &mut Dice) -> Vec<u8> {
        let (mut bytes, kept) = (self.synced.clone(), dice.below(self.since.len() + 1));
        let (since, rest) = self.since.split_at(kept);
        // Of what was written after the last change of the length any page may be missing.
        let cut = since.iter().rposition(|change| matches!(change, Operation::SetLen { .. }));
        let (firm, loose) = since.split_at(cut.map_or(0, |cut| cut + 1));
        for change in firm {
            write(&mut bytes, change, PAGE, || true);
        }
        let holes = dice.below(3) == 0;
        for change in loose {
            write(&mut bytes, change, PAGE, || !holes || dice.below(4) > 0);
        }
        if let Some(torn) = rest.first() {
            tear(&mut bytes, torn, dice);
        }
        bytes
    }
}

/// Does a part of what was under way.
fn tear(file: &mut Vec<u8>, change: &Operation, dice: &mut Dice) {
    match (change, dice.below(3)) {
        (Operation::Write { file: number, offset, bytes }, 0) => {
            let bytes = bytes[..dice.below(bytes.len() + 1)].to_vec();
            write(file, &Operation::Write { file: *number, offset: *offset, bytes }, PAGE, || true);
        }
        (_, 1) => write(file, change, SECTOR, || dice.below(2) == 1),
        _ => write(file, change, PAGE, || dice.below(2) == 1),
    }
}

/// All files and names.
#[derive(Debug, Default)]
pub(super) struct Image {
    files: BTreeMap<usize, FileImage>,
    names: BTreeMap<String, usize>,
    since: Vec<Operation>,
}

impl Image {
    pub(super) fn of(operations: &[Operation]) -> Self {
        let mut image = Self::default();
        for operation in operations {
            image.apply(operation);
        }
        image
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Nothing => {}
            Operation::Create { file, .. } => {
                self.files.insert(*file, FileImage::default());
                self.since.push(operation.clone());
            }
            Operation::Rename { .. } | Operation::Remove { .. } => {
                self.since.push(operation.clone());
            }
            Operation::SyncNames => {
                let names = &mut self.names;
                self.since.drain(..).for_each(|change| rename(names, &change));
            }
            Operation::Write { file, .. } | Operation::SetLen { file, .. } => {
                self.files.get_mut(file).unwrap().since.push(operation.clone());
            }
            Operation::Sync { file } => {
                let image = self.files.get_mut(file).unwrap();
                for change in std::mem::take(&mut image.since) {
                    write(&mut image.synced, &change, PAGE, || true);
                }
            }
            Operation::SyncFailed { file, seed } => {
                self.files.get_mut(file).unwrap().lose(*seed);
            }
        }
    }

    /// A file with all that was done to it.
    pub(super) fn whole(&self, file: usize) -> Vec<u8> {
        self.files[&file].whole()
    }

    pub(super) fn into_memory(mut self, keep: Keep) -> Memory {
        let mut dice = Dice(if let Keep::Some(seed) = keep { seed } else { 0 });
        self.since.truncate(match keep {
            Keep::Nothing => 0,
            Keep::Everything => self.since.len(),
            Keep::Some(_) => dice.below(self.since.len() + 1),
        });
        self.since.iter().for_each(|change| rename(&mut self.names, change));
        let memory = Memory::default();
        for (name, number) in &self.names {
            let file = &self.files[number];
            let bytes = match keep {
                Keep::Nothing => file.synced.clone(),
                Keep::Everything => file.whole(),
                Keep::Some(_) => file.after_crash(&mut dice),
            };
            memory.create(name).unwrap().write_at(&bytes, 0).unwrap();
        }
        memory
    }
}

fn rename(names: &mut BTreeMap<String, usize>, change: &Operation) {
    match change {
        Operation::Create { file, name } => drop(names.insert(name.clone(), *file)),
        Operation::Rename { from, to } => {
            let number = names.remove(from).unwrap();
            names.insert(to.clone(), number);
        }
        Operation::Remove { name } => drop(names.remove(name)),
        other => unreachable!("{other:?}"),
    }
}

/// Changes a file's bytes; of a write those pieces, each within `unit` bytes of the file, that
/// `keep` wants.
fn write(file: &mut Vec<u8>, change: &Operation, unit: usize, mut keep: impl FnMut() -> bool) {
    match change {
        Operation::Write { offset, bytes, .. } => {
            file.resize(file.len().max(offset + bytes.len()), 0);
            let (mut at, mut rest) = (*offset, &bytes[..]);
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(unit - at % unit));
                if keep() {
                    file[at..][..piece.len()].copy_from_slice(piece);
                }
                (at, rest) = (at + piece.len(), after);
            }
        }
        Operation::SetLen { len, .. } => file.resize(*len, 0),
        other => unreachable!("{other:?}"),
    }
}
