//! A lock on a data folder, so that two processes never share one.
//!
//! # Invariants
//!
//! 1. At most one [`FolderLock`] of a folder exists, over all processes of the machine.
//! 2. The operating system frees it when its process ends, however it ends: the file that remains
//!    locks nobody out.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

const FILE_NAME: &str = "dsc.lock";

/// A data folder that cannot be locked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process has it.
    #[error("the data folder {} is in use by {}", folder.display(), holder(*pid))]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The process, if its number could be read.
        pid: Option<u32>,
    },
    /// The folder or its lock file cannot be used.
    #[error("cannot lock {}: {source}", path.display())]
    File {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// A folder that belongs to this process until this is dropped.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    // Closing the file frees the lock.
    _file: File,
}

impl FolderLock {
    /// Makes `folder` if it is missing, and locks it.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] if another process has it, [`LockError::File`] if it cannot be used.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LockError::File { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let path = folder.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    folder: folder.to_owned(),
                    pid: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(LockError::File { path, source }),
        }
        write_pid(&mut file).map_err(failed(&path))?;
        Ok(Self { folder: folder.to_owned(), _file: file })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let lock = FolderLock::acquire(&data).unwrap();
        let error = FolderLock::acquire(&data).unwrap_err();
        assert!(
            matches!(&error, LockError::Held { pid: Some(pid), .. } if *pid == std::process::id())
        );
        let expected = format!(
            "the data folder {} is in use by process {}",
            data.display(),
            std::process::id()
        );
        assert_eq!(error.to_string(), expected);
        drop(lock);
        assert_eq!(FolderLock::acquire(&data).unwrap().folder(), data);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = FolderLock::acquire(&file.join("data")).unwrap_err();
        assert!(matches!(error, LockError::File { .. }), "{error}");
    }
}
