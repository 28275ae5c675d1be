//! What the disk itself does: sequential writes and random reads past the cache.
//!
//! # Invariants
//!
//! 1. Whether the cache was really passed by is known and told: some file systems refuse.
//! 2. Buffers, offsets and lengths are multiples of a page, as direct access demands.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    thread,
};

use super::measure::Draw;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;
/// Bytes written at once.
const CHUNK: u64 = 1 << 20;
/// Writes under way at once.
const WRITERS: u64 = 4;

/// A buffer that begins at a multiple of a page.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    #[allow(clippy::cast_possible_truncation, reason = "a page")]
    fn new(len: usize) -> Self {
        let bytes = vec![0; len + PAGE as usize];
        let start = bytes.as_ptr().align_offset(PAGE as usize).min(PAGE as usize);
        Self { bytes, start, len }
    }

    fn slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }
}

/// How a file is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Past the cache.
    Direct,
    /// Through the cache, because the file system refused.
    Buffered,
}

impl Access {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Buffered => "buffered",
        }
    }
}

/// Opens a file past the cache, or through it where that is refused.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Access)> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        if let Ok(file) = options.clone().custom_flags(flags).open(path) {
            return Ok((file, Access::Direct));
        }
    }
    Ok((options.open(path)?, Access::Buffered))
}

/// Writes a file of `len` bytes, a multiple of a page, several writes at once, and waits until it is
/// on the disk.
pub(crate) fn write(path: &Path, len: u64) -> io::Result<Access> {
    let file = File::create(path)?;
    // Room is made first, as a plotter does, so that writes do not grow the file.
    file.set_len(len)?;
    let writer = |number: u64| -> io::Result<Access> {
        let (mut file, access) = open(path, OpenOptions::new().write(true))?;
        let mut chunk = Aligned::new(usize::try_from(CHUNK).unwrap_or_default());
        Draw::new(number).fill(chunk.slice());
        for start in (0..len).step_by(step(CHUNK)).skip(step(number)).step_by(step(WRITERS)) {
            let count = step((len - start).min(CHUNK));
            file.seek(SeekFrom::Start(start))?;
            file.write_all(&chunk.slice()[..count])?;
        }
        file.sync_data().map(|()| access)
    };
    let written = thread::scope(|scope| {
        let writer = &writer;
        let writers: Vec<_> =
            (0..WRITERS).map(|number| scope.spawn(move || writer(number))).collect();
        let join =
            |writer: thread::ScopedJoinHandle<'_, _>| writer.join().expect("a writer panicked");
        writers.into_iter().map(join).collect::<io::Result<Vec<_>>>()
    })?;
    file.sync_all()?;
    let is_buffered = written.contains(&Access::Buffered);
    Ok(if is_buffered { Access::Buffered } else { Access::Direct })
}

fn step(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Reads single pages of one file, past the cache where that is possible.
pub(crate) struct PageReader {
    file: File,
    pub(crate) access: Access,
    page: Aligned,
}

impl PageReader {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let (file, access) = open(path, OpenOptions::new().read(true))?;
        Ok(Self { file, access, page: Aligned::new(step(PAGE)) })
    }

    /// Reads page `number`.
    pub(crate) fn read(&mut self, number: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(number * PAGE))?;
        self.file.read_exact(self.page.slice())
    }
}

/// Lets the cache forget a file that is on the disk; true if the system took the advice.
pub(crate) fn forget(file: &File) -> bool {
    #[cfg(target_os = "linux")]
    {
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        false
    }
}

/// Bytes that the file system of `folder` has left for us, if it can say.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(folder).ok()?;
        stat.f_bavail.checked_mul(stat.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_every_page_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let len = 5 * CHUNK + 3 * PAGE;
        write(&path, len).unwrap();
        assert_eq!(path.metadata().unwrap().len(), len);
        let mut reader = PageReader::open(&path).unwrap();
        for number in [0, 1, len / PAGE - 1] {
            reader.page.slice().fill(0);
            reader.read(number).unwrap();
            assert!(reader.page.slice().iter().any(|byte| *byte != 0), "page {number} is empty");
        }
        assert!(reader.read(len / PAGE).is_err());
        let file = File::open(&path).unwrap();
        assert_eq!(forget(&file), cfg!(target_os = "linux"));
        assert!(free_bytes(folder.path()).is_none_or(|free| free > 0));
    }

    #[test]
    fn buffers_begin_at_a_page() {
        for len in [4096, 8192] {
            let mut buffer = Aligned::new(len);
            assert_eq!(buffer.slice().as_ptr().addr() % 4096, 0);
            assert_eq!(buffer.slice().len(), len);
        }
    }
}
