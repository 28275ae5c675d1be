//! An open vault: look-ups that many threads may make at once.
//!
//! How a page is read is the caller's choice ([`LookupMode`]). Reading is the default, and what a
//! validator uses: a file that is cut, replaced or fails while it is read is an error. A map saves
//! the system call, about a microsecond of a look-up in the cache and nothing of one on the disk,
//! and ends the process if the file is cut, or the disk fails, under it. Reading past the cache
//! saves two microseconds of a look-up on the disk and makes every look-up one (figures in
//! docs/performance.md). Whichever is chosen, the file is opened once: what is done to its name
//! afterwards is not seen.
//!
//! # Invariants
//!
//! 1. A vault is open only if magic, version, checksum, length and completion were right.
//! 2. Every look-up checks the page's CRC, so a page that changed after opening is an error.
//! 3. Without a map, no state of the file or the disk ends the process.
//! 4. A mapped vault holds a shared lock, and whoever writes to a vault an exclusive one, so no
//!    part of this program changes a mapped file.

use std::{
    fs::{File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use memmap2::Mmap;

use super::{
    super::{LookupMode, pairs::Pair},
    file::{AlignedBytes, advise_random, open_file},
    vault::{Fault, Header, PAGE_LEN, Page, VaultError, VaultId, offset_of, read_bucket},
};
use crate::disk::{Disk, DiskFile, Real};

/// A vault that is open for look-ups.
#[derive(Debug)]
pub struct Vault {
    path: PathBuf,
    header: Header,
    // Before the file, so that a map goes before the lock that the file holds.
    pages: Pages,
    file: Arc<dyn DiskFile>,
}

/// How pages are reached.
#[derive(Debug)]
enum Pages {
    Map(Mmap),
    Read,
    Direct,
}

impl Vault {
    /// Opens the vault at `path`.
    ///
    /// # Errors
    ///
    /// [`VaultError`] if the file is no complete vault.
    pub fn open(path: &Path, mode: LookupMode) -> Result<Self, VaultError> {
        Self::try_open(path, mode).map_err(|fault| VaultError::new(path, fault))
    }

    /// Opens the vault at `path`, which has to be `expected`.
    ///
    /// # Errors
    ///
    /// [`VaultError`] if the file is no complete vault or another one.
    pub fn open_as(path: &Path, expected: &VaultId, mode: LookupMode) -> Result<Self, VaultError> {
        let vault = Self::open(path, mode)?;
        check_identity(&vault.header.id, expected).map_err(|fault| VaultError::new(path, fault))?;
        Ok(vault)
    }

    /// Reads the header of the file at `path`, whether it is complete or not.
    ///
    /// # Errors
    ///
    /// [`VaultError`] if there is no header that this program can read.
    pub fn read_header(path: &Path) -> Result<Header, VaultError> {
        let header = open_file(path)
            .map_err(|error| io_fault(0, &error))
            .and_then(|file| header_of(&Real(file)))
            .map_err(|fault| VaultError::new(path, fault))?;
        Ok(header)
    }

    fn try_open(path: &Path, mode: LookupMode) -> Result<Self, Fault> {
        let file = Real(open_file(path).map_err(|error| io_fault(0, &error))?);
        let header = whole_header_of(&file)?;
        advise_random(&file.0);
        let pages = match mode {
            LookupMode::Map => Pages::Map(map(&file.0)?),
            LookupMode::Direct if is_direct(&file, &header.id) => Pages::Direct,
            LookupMode::Read | LookupMode::Direct => Pages::Read,
        };
        Ok(Self { path: path.to_path_buf(), header, pages, file: Arc::new(file) })
    }

    /// Opens the vault called `name` on `disk`, to be read.
    ///
    /// # Errors
    ///
    /// [`VaultError`] if the file is no complete vault.
    pub fn open_on(disk: &dyn Disk, name: &str) -> Result<Self, VaultError> {
        let open = || {
            let file = disk.open(name).map_err(|error| io_fault(0, &error))?;
            Ok((whole_header_of(&*file)?, file))
        };
        let path = PathBuf::from(name);
        let (header, file) = open().map_err(|fault| VaultError::new(&path, fault))?;
        Ok(Self { path, header, pages: Pages::Read, file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its header says.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// How it is read: what was asked for, or [`LookupMode::Read`] where the file system refuses
    /// [`LookupMode::Direct`].
    pub const fn mode(&self) -> LookupMode {
        match self.pages {
            Pages::Map(_) => LookupMode::Map,
            Pages::Read => LookupMode::Read,
            Pages::Direct => LookupMode::Direct,
        }
    }

    /// Looks up the entries of a bucket, each `(x1, x2)`, in the order of the table.
    ///
    /// # Errors
    ///
    /// [`VaultError`] if there is no such bucket, or its page cannot be read or is damaged.
    pub fn entries(&self, bucket: u64) -> Result<Vec<(u32, u32)>, VaultError> {
        let mut pairs = Vec::new();
        self.read(bucket, 1, &mut pairs)?;
        Ok(pairs.into_iter().map(|pair| (pair.x1(), pair.x2())).collect())
    }

    /// Appends the entries of `count` buckets from `first` on to `pairs`, with one read.
    pub(super) fn read(
        &self,
        first: u64,
        count: u64,
        pairs: &mut Vec<Pair>,
    ) -> Result<(), VaultError> {
        self.try_read(first, count, pairs).map_err(|fault| VaultError::new(&self.path, fault))
    }

    fn try_read(&self, first: u64, count: u64, pairs: &mut Vec<Pair>) -> Result<(), Fault> {
        let (id, end) = (&self.header.id, first.saturating_add(count));
        let buckets = id.buckets();
        if end > buckets {
            return Err(Fault::NoBucket { got: end.saturating_sub(1), buckets });
        }
        let number = first.saturating_add(1);
        let len = usize::try_from(offset_of(count)).unwrap_or(usize::MAX);
        let mut buffer;
        let bytes = if let Pages::Map(map) = &self.pages {
            check_len(&*self.file, id)?;
            mapped(map, number, len)?
        } else {
            buffer = AlignedBytes::zeroed(len);
            read_pages(&*self.file, id, number, buffer.as_mut())?;
            buffer.as_mut()
        };
        for (bucket, page) in (first..).zip(bytes.as_chunks().0) {
            pairs.extend(read_bucket(page, bucket, id)?);
        }
        Ok(())
    }
}

/// The files in `folder` that are named like vaults, in the order of their names, with the
/// header of each that can be opened.
///
/// # Errors
///
/// Only if the folder cannot be read; what is wrong with a file stands in its place.
pub fn list(folder: &Path) -> io::Result<Vec<(PathBuf, Result<Header, VaultError>)>> {
    let mut paths = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "vault") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    let read = |path: PathBuf| {
        let header = Vault::open(&path, LookupMode::Read).map(|vault| *vault.header());
        (path, header)
    };
    Ok(paths.into_iter().map(read).collect())
}

/// Reads the pages from `number` on that fill `bytes`.
pub(super) fn read_pages(
    file: &dyn DiskFile,
    id: &VaultId,
    number: u64,
    bytes: &mut [u8],
) -> Result<(), Fault> {
    // Where a file was cut, systems name different errors.
    let name = |error| check_len(file, id).err().unwrap_or_else(|| io_fault(number, &error));
    file.read_at(bytes, offset_of(number)).map_err(name)
}

pub(super) fn check_identity(got: &VaultId, expected: &VaultId) -> Result<(), Fault> {
    if got == expected {
        return Ok(());
    }
    Err(Fault::Identity { got: got.file_name(), expected: expected.file_name() })
}

/// The header of a vault that is complete and as long as it should be.
fn whole_header_of(file: &dyn DiskFile) -> Result<Header, Fault> {
    let header = header_of(file)?;
    if !header.complete {
        return Err(Fault::Incomplete);
    }
    check_len(file, &header.id)?;
    Ok(header)
}

fn header_of(file: &dyn DiskFile) -> Result<Header, Fault> {
    let mut page = [0; PAGE_LEN];
    read_header_page(file, &mut page)?;
    Header::from_page(&page)
}

pub(super) fn read_header_page(file: &dyn DiskFile, page: &mut Page) -> Result<(), Fault> {
    file.read_at(page, 0).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Fault::Magic,
        _ => io_fault(0, &error),
    })
}

fn check_len(file: &dyn DiskFile, id: &VaultId) -> Result<(), Fault> {
    let got = file.size().map_err(|error| io_fault(0, &error))?;
    let expected = id.file_len();
    if got == expected { Ok(()) } else { Err(Fault::Length { got, expected }) }
}

pub(super) fn io_fault(page: u64, error: &io::Error) -> Fault {
    Fault::Io { page, offset: offset_of(page), reason: error.to_string() }
}

fn mapped(map: &Mmap, number: u64, len: usize) -> Result<&[u8], Fault> {
    let offset = offset_of(number);
    let rest = usize::try_from(offset).ok().and_then(|start| map.get(start..));
    let bytes = rest.and_then(|rest| rest.get(..len));
    bytes.ok_or_else(|| Fault::Length {
        got: map.len() as u64,
        expected: offset.saturating_add(len as u64),
    })
}

/// Makes reading pass the cache, and tells whether the file system lets us.
pub(super) fn is_direct(file: &dyn DiskFile, id: &VaultId) -> bool {
    let mut page = AlignedBytes::zeroed(PAGE_LEN);
    // Some accept the wish and refuse the read.
    let works = file.pass_cache(true) && read_pages(file, id, 0, page.as_mut()).is_ok();
    if !works {
        file.pass_cache(false);
    }
    works
}

#[allow(unsafe_code, reason = "memory map")]
fn map(file: &File) -> Result<Mmap, Fault> {
    // Held until the file is closed, which is when the vault is dropped.
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Fault::Busy),
        Err(TryLockError::Error(error)) => return Err(io_fault(0, &error)),
    }
    // SAFETY: the bytes of a map must not change while a reference to them is alive, which the
    // system cannot promise for a file. Vaults are written under another name and only renamed
    // when complete, and repaired only under a lock that ours excludes, so no part of this program
    // changes a file that is mapped. If another program does, what we read is plain bytes that are
    // checked against a CRC and, in a proof, by its verifier; the length is checked before each
    // look-up because a page past the end would end the process.
    let map = unsafe { Mmap::map(file) }.map_err(|error| io_fault(0, &error))?;
    // Each look-up reads one page; reading ahead would fetch what nobody asks for.
    #[cfg(unix)]
    map.advise(memmap2::Advice::Random).map_err(|error| io_fault(0, &error))?;
    Ok(map)
}
