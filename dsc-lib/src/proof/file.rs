//! Positioned reads and writes, which need no cursor and so no lock, past the cache or through it.

use std::{fs::File, io, path::Path};

/// What offsets, lengths and addresses are multiples of when the cache is passed.
const ALIGNMENT: usize = 4096;

/// Bytes that start at an address which the system accepts for reading past its cache.
#[derive(Debug)]
pub(super) struct AlignedBytes {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBytes {
    pub(super) fn zeroed(len: usize) -> Self {
        let bytes = vec![0_u8; len.saturating_add(ALIGNMENT)];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, start, len }
    }

    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(self.start..)
            .and_then(|rest| rest.get_mut(..self.len))
            .unwrap_or_default()
    }
}

/// Says that pages will be read in no order, so reading ahead would be for nothing.
///
/// This is advice: whether it is heeded changes speed alone, so a refusal is none of our business.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn advise_random(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn advise_random(_file: &File) {}

/// Asks the system to forget what it has cached of `len` bytes from `offset` on; advice too.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn drop_cache_of(file: &File, offset: u64, len: u64) {
    if let Some(len) = std::num::NonZeroU64::new(len) {
        let _ = rustix::fs::fadvise(file, offset, Some(len), rustix::fs::Advice::DontNeed);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn drop_cache_of(_file: &File, _offset: u64, _len: u64) {}

#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(unix)]
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    let mut offset = offset;
    while !bytes.is_empty() {
        let count = file.seek_read(bytes, offset)?;
        bytes = bytes.get_mut(count..).filter(|_| count > 0).ok_or(io::ErrorKind::UnexpectedEof)?;
        offset = offset.saturating_add(count as u64);
    }
    Ok(())
}

#[cfg(windows)]
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    let mut offset = offset;
    while !bytes.is_empty() {
        let count = file.seek_write(bytes, offset)?;
        bytes = bytes.get(count..).filter(|_| count > 0).ok_or(io::ErrorKind::WriteZero)?;
        offset = offset.saturating_add(count as u64);
    }
    Ok(())
}

/// Writes parts one after another.
#[cfg(unix)]
pub(super) fn write_all_parts_at(file: &File, parts: &[&[u8]], offset: u64) -> io::Result<()> {
    let slices: Vec<_> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
    let written = rustix::io::pwritev(file, &slices, offset)?;
    // More rarely than not it is less than all.
    write_rest_at(file, parts, offset, written)
}

#[cfg(not(unix))]
pub(super) fn write_all_parts_at(file: &File, parts: &[&[u8]], offset: u64) -> io::Result<()> {
    write_rest_at(file, parts, offset, 0)
}

/// Writes what is left of `parts` when `written` bytes of them were.
fn write_rest_at(file: &File, parts: &[&[u8]], offset: u64, written: usize) -> io::Result<()> {
    let (mut offset, mut written) = (offset, written);
    for part in parts {
        let done = written.min(part.len());
        written = written.saturating_sub(done);
        let rest = part.get(done..).unwrap_or_default();
        write_all_at(file, rest, offset.saturating_add(done as u64))?;
        offset = offset.saturating_add(part.len() as u64);
    }
    Ok(())
}

/// Bytes that the file system of `folder` has left for us, if it can say.
#[cfg(unix)]
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

#[cfg(not(unix))]
pub(crate) fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}

/// Makes `file` `len` bytes long and takes the room for them, where the file system can.
#[cfg(target_os = "linux")]
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    use rustix::{
        fs::{FallocateFlags, fallocate},
        io::Errno,
    };

    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(len),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    file.set_len(len)
}

/// Bytes of the disk that `file` has already.
#[cfg(unix)]
pub(crate) fn allocated_bytes(file: &File) -> u64 {
    use std::os::unix::fs::MetadataExt;

    file.metadata().map_or(0, |metadata| metadata.blocks().saturating_mul(512))
}

#[cfg(not(unix))]
pub(crate) fn allocated_bytes(_file: &File) -> u64 {
    0
}

/// Whether `path` is a name of `file`, which somebody may have removed or replaced.
#[cfg(unix)]
pub(crate) fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let (open, named) = (file.metadata()?, path.metadata());
    Ok(named.is_ok_and(|named| (open.dev(), open.ino()) == (named.dev(), named.ino())))
}

#[cfg(not(unix))]
pub(crate) fn is_named(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Opens `path` for reading if it is a file: opening a pipe would wait for whoever writes to it.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    if path.metadata()?.is_file() {
        return File::open(path);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

/// Makes the names in `folder` durable.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let error = open_file(folder.path()).unwrap_err();
        assert_eq!(error.to_string(), "not a regular file");
        assert!(open_file(tempfile::NamedTempFile::new().unwrap().path()).is_ok());
    }

    #[test]
    fn parts_are_written_whole_wherever_the_system_stopped() {
        let file = tempfile::tempfile().unwrap();
        let parts: [&[u8]; 3] = [b"abc", b"", b"defgh"];
        for written in 0..=8 {
            write_all_at(&file, &[b'.'; 12], 0).unwrap();
            write_all_at(&file, &b"abcdefgh"[..written], 2).unwrap();
            write_rest_at(&file, &parts, 2, written).unwrap();
            let mut found = [0; 12];
            read_exact_at(&file, &mut found, 0).unwrap();
            assert_eq!(&found, b"..abcdefgh..", "{written}");
        }
        write_all_parts_at(&file, &parts[..1], 4).unwrap();
        let mut found = [0; 12];
        read_exact_at(&file, &mut found, 0).unwrap();
        assert_eq!(&found, b"..ababcfgh..");
    }
}
