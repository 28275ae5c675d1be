//! An open vault: look-ups that many threads may make at once.
//!
//! # Invariants
//!
//! 1. A vault is open only if magic, version, checksum, length and completion were right.
//! 2. Every look-up checks the page's CRC, and the file's length before it touches a map, so a
//!    file that was cut or damaged after opening is an error and no crash.

use std::{
    fs::File,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use memmap2::Mmap;

use super::{
    super::{LookupMode, file::read_exact_at, pairs::Pair},
    vault::{Fault, Header, PAGE_LEN, Page, VaultError, VaultId, offset_of, read_bucket},
};

/// A vault that is open for look-ups.
#[derive(Debug)]
pub struct Vault {
    path: PathBuf,
    header: Header,
    file: File,
    map: Option<Mmap>,
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
        if vault.header.id == *expected {
            return Ok(vault);
        }
        let (got, expected) = (vault.header.id.file_name(), expected.file_name());
        Err(VaultError::new(path, Fault::Identity { got, expected }))
    }

    /// Reads the header of the file at `path`, whether it is complete or not.
    ///
    /// # Errors
    ///
    /// [`VaultError`] if there is no header that this program can read.
    pub fn read_header(path: &Path) -> Result<Header, VaultError> {
        let header = File::open(path)
            .map_err(|error| io_fault(0, &error))
            .and_then(|file| header_of(&file))
            .map_err(|fault| VaultError::new(path, fault))?;
        Ok(header)
    }

    fn try_open(path: &Path, mode: LookupMode) -> Result<Self, Fault> {
        let file = File::open(path).map_err(|error| io_fault(0, &error))?;
        let header = header_of(&file)?;
        if !header.complete {
            return Err(Fault::Incomplete);
        }
        check_len(&file, &header)?;
        let map = match mode {
            LookupMode::Map => Some(map(&file).map_err(|error| io_fault(0, &error))?),
            LookupMode::Read => None,
        };
        Ok(Self { path: path.to_path_buf(), header, file, map })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its header says.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Appends the entries of a bucket to `pairs`.
    pub(super) fn read(&self, bucket: u64, pairs: &mut Vec<Pair>) -> Result<(), VaultError> {
        self.try_read(bucket, pairs).map_err(|fault| VaultError::new(&self.path, fault))
    }

    pub(super) fn try_read(&self, bucket: u64, pairs: &mut Vec<Pair>) -> Result<(), Fault> {
        let number = bucket.saturating_add(1);
        let mut buffer;
        let page = if let Some(map) = &self.map {
            check_len(&self.file, &self.header)?;
            mapped_page(map, number)?
        } else {
            buffer = [0; PAGE_LEN];
            self.read_page(number, &mut buffer)?;
            &buffer
        };
        pairs.extend(read_bucket(page, bucket, &self.header.id)?);
        Ok(())
    }

    fn read_page(&self, number: u64, page: &mut Page) -> Result<(), Fault> {
        read_exact_at(&self.file, page, offset_of(number)).map_err(|error| {
            let cut = error.kind() == ErrorKind::UnexpectedEof;
            let length = cut.then(|| check_len(&self.file, &self.header).err()).flatten();
            length.unwrap_or_else(|| io_fault(number, &error))
        })
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

fn header_of(file: &File) -> Result<Header, Fault> {
    let mut page = [0; PAGE_LEN];
    read_exact_at(file, &mut page, 0).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Fault::Magic,
        _ => io_fault(0, &error),
    })?;
    Header::from_page(&page)
}

fn check_len(file: &File, header: &Header) -> Result<(), Fault> {
    let got = file.metadata().map_err(|error| io_fault(0, &error))?.len();
    let expected = header.id.file_len();
    if got == expected { Ok(()) } else { Err(Fault::Length { got, expected }) }
}

fn io_fault(page: u64, error: &io::Error) -> Fault {
    Fault::Io { page, offset: offset_of(page), reason: error.to_string() }
}

fn mapped_page(map: &Mmap, number: u64) -> Result<&Page, Fault> {
    let offset = offset_of(number);
    let rest = usize::try_from(offset).ok().and_then(|start| map.get(start..));
    let page = rest.and_then(|rest| rest.first_chunk());
    let short =
        || Fault::Length { got: map.len() as u64, expected: offset_of(number.saturating_add(1)) };
    page.ok_or_else(short)
}

#[allow(unsafe_code, reason = "memory map")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes of a map must not change while a reference to them is alive, which the
    // system cannot promise for a file. Vaults are written under another name and only renamed
    // when complete, so no part of this program changes a file that can be mapped. If another
    // program does, what we read is plain bytes that are checked against a CRC and, in a proof,
    // by its verifier; the length is checked before each look-up because a page past the end
    // would end the process.
    let map = unsafe { Mmap::map(file)? };
    // Each look-up reads one page; reading ahead would fetch what nobody asks for.
    #[cfg(unix)]
    map.advise(memmap2::Advice::Random)?;
    Ok(map)
}
