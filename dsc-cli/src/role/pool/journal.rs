//! Opens the folder of a pool's journal.
//!
//! # Invariants
//!
//! 1. The single file that a journal was before it had segments becomes the first of them, whenever
//!    the machine stops meanwhile.

use std::{fs, io, path::Path, sync::Arc};

use dsc_lib::{disk::Folder, mempool::journal::Journal};

use crate::crash;

/// Opens the journal in `folder`, which is made if there is none.
pub(super) fn open(folder: &Path) -> io::Result<Journal> {
    adopt_file(folder)?;
    let Some(disk) = Folder::lock(folder, false)? else {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process has it"));
    };
    let journal = Journal::open(Arc::new(crash::disk(disk)))?;
    for torn in journal.torn() {
        tracing::warn!(
            segment = torn.segment,
            bytes = torn.bytes,
            "the pool's journal has bytes that are no transaction, as a crash leaves them"
        );
    }
    Ok(journal)
}

/// Takes over the single file of an earlier version.
fn adopt_file(folder: &Path) -> io::Result<()> {
    let (aside, first) = (folder.with_extension("old"), folder.join("0000000000.segment"));
    if folder.is_file() {
        fs::rename(folder, &aside)?;
    }
    if !aside.is_file() || first.exists() {
        return Ok(());
    }
    drop(Folder::lock(folder, false)?);
    fs::rename(aside, first)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use dsc_lib::testing::{ALICE, BOB, address, chain, pay};

    use super::*;

    /// Whether or not it was interrupted after the first step.
    #[test]
    fn the_file_of_an_earlier_version_becomes_a_segment() {
        let folder = tempfile::tempdir().unwrap();
        let one = Arc::new(pay(&ALICE, 0, address(&BOB), 1).check(&chain().hash()).unwrap());
        open(&folder.path().join("new")).unwrap().append(std::slice::from_ref(&one)).unwrap();
        let file = folder.path().join("new/0000000000.segment");
        for (name, journal) in [("whole", "whole"), ("interrupted.old", "interrupted")] {
            fs::copy(&file, folder.path().join(name)).unwrap();
            let journal = open(&folder.path().join(journal)).unwrap();
            assert_eq!(journal.read(0).unwrap(), [one.encoded().clone()]);
        }
    }

    #[test]
    fn one_process_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = open(folder.path()).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert_eq!(error.to_string(), "another process has it");
        drop(held);
        assert!(open(folder.path()).is_ok());
    }
}
