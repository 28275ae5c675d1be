//! The few file operations that ledger, journal and vault need, over the files of one folder.
//!
//! # Invariants
//!
//! 1. What was written is on disk once [`DiskFile::sync`] has returned, names once [`Disk::sync`]
//!    has; before that a crash may keep any part of it.
//! 2. A file that is open can be read after its name is gone or means another file.
//!
//! A folder that [`Folder::lock`] made is itself on disk.
//!
//! [`Folder`] is a folder of this machine, [`Memory`] is gone when it is dropped. Tests put others
//! behind the same traits: disks that fail, and disks that lose what was not synced.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use crate::proof::{
    direct,
    file::{
        allocate, allocated_bytes, drop_cache_of, free_bytes, is_named, read_exact_at, sync_folder,
        write_all_at,
    },
};

/// A folder with files in it; names have no separators.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file that exists.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, or what the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a file, or empties the one there is.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file, or makes it if there is none.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn open_or_create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        match self.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(name),
            opened => opened,
        }
    }

    /// Gives a file another name, which it takes from any other file at once.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a name away.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Whether there is a file of this name.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn has(&self, name: &str) -> io::Result<bool> {
        Ok(self.list()?.iter().any(|other| other == name))
    }

    /// Bytes that are left for us, if that can be said.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Returns when all names made, changed and taken away are on disk.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn sync(&self) -> io::Result<()>;
}

/// An open file, read and written at places.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends first, or what the system says.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` from `offset` on; the file grows as needed.
    ///
    /// # Errors
    ///
    /// What the system says; any part of `bytes` may be written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts or extends the file.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns when all that was written is on disk.
    ///
    /// # Errors
    ///
    /// What the system says; nobody knows then what is on disk.
    fn sync(&self) -> io::Result<()>;

    /// Advises that these bytes, which were synced, will hardly be read soon: their memory is better
    /// used for what is written next, and they are to be read from the disk. By default nothing
    /// happens.
    fn forget(&self, _offset: u64, _len: u64) {}

    /// Keeps others from locking the file until this one is closed; `false` if somebody has locked
    /// it. By default there is nobody else.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// Whether `path` is a name of this file, which somebody may have removed or replaced.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn is_at(&self, _path: &Path) -> io::Result<bool> {
        Ok(true)
    }

    /// Makes the file `len` bytes long and takes the room for them, where that can be done.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    /// Bytes of the disk that it has already; 0 if that cannot be said.
    fn allocated_bytes(&self) -> u64 {
        0
    }

    /// Asks for reads and writes past the system's cache, or no longer; tells whether it is so.
    /// Offsets, lengths and addresses then have to be multiples of 4096.
    fn pass_cache(&self, pass: bool) -> bool {
        !pass
    }
}

/// A folder of this machine, held against other processes.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    read_only: bool,
    /// Holds the lock.
    #[cfg_attr(not(unix), allow(dead_code, reason = "folders are locked on unix alone"))]
    handle: Option<File>,
}

impl Folder {
    /// Makes the folder if it is to be written and is missing, and locks it: for this process
    /// alone, or to be read beside other readers. `None` if another process has it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn lock(path: &Path, read_only: bool) -> io::Result<Option<Self>> {
        if !read_only {
            make_folder(path)?;
        }
        let handle = if cfg!(unix) { Some(File::open(path)?) } else { None };
        let locked = match &handle {
            Some(handle) if read_only => handle.try_lock_shared(),
            Some(handle) => handle.try_lock(),
            None => Ok(()),
        };
        match locked {
            Ok(()) => Ok(Some(Self { path: path.to_owned(), read_only, handle })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Folder {
    /// Makes the folder if it is missing, and leaves it to others as well.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn shared(path: &Path) -> io::Result<Self> {
        make_folder(path)?;
        let handle = if cfg!(unix) { Some(File::open(path)?) } else { None };
        Ok(Self { path: path.to_owned(), read_only: false, handle })
    }
}

impl Disk for Folder {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = File::options();
        options.read(true).write(!self.read_only);
        Ok(Arc::new(Real(options.open(self.path.join(name))?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Arc::new(Real(options.open(self.path.join(name))?)))
    }

    fn open_or_create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        Ok(Arc::new(Real(options.open(self.path.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().into_string().ok()).transpose()
        };
        fs::read_dir(&self.path)?.filter_map(name).collect()
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        Ok(self.path.join(name).exists())
    }

    fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.path)
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.as_ref().map_or(Ok(()), File::sync_all)
    }
}

/// Makes a folder, and those above it that are missing, so that they outlive a crash.
fn make_folder(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        make_folder(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => sync_folder(parent),
        Err(error) if !path.is_dir() => Err(error),
        // Whoever made it may have been killed before its name was on disk. A parent that is not
        // ours to open was not changed by us.
        Err(_) => match sync_folder(parent) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        },
    }
}

/// Puts bytes into a file of their own, called `name` or that with a number behind it, and returns
/// what it is called once it is on disk.
///
/// No file is changed that has other bytes: those may be all that is left of something else.
#[cfg(feature = "ledger")]
pub(crate) fn set_aside(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<String> {
    let names = (1_u32..).map(|number| match number {
        1 => name.to_owned(),
        _ => format!("{name}.{number}"),
    });
    for name in names {
        match disk.open(&name) {
            Ok(there) if read_all(&*there)? != bytes => continue,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(&name)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        disk.sync()?;
        return Ok(name);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// All bytes of a file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A file of this machine.
#[derive(Debug)]
pub(crate) struct Real(pub(crate) File);

impl DiskFile for Real {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        read_exact_at(&self.0, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_all_at(&self.0, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget(&self, offset: u64, len: u64) {
        drop_cache_of(&self.0, offset, len);
    }

    fn lock(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_named(&self.0, path)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        allocate(&self.0, len)
    }

    fn allocated_bytes(&self) -> u64 {
        allocated_bytes(&self.0)
    }

    fn pass_cache(&self, pass: bool) -> bool {
        if pass { direct::enable(&self.0) } else { direct::disable(&self.0) }
    }
}

/// A folder in RAM; clones are the same folder.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>,
}

impl Memory {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<MemoryFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for Memory {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let found = self.files().get(name).cloned();
        found.map(|file| -> Arc<dyn DiskFile> { file }).ok_or_else(not_found)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.files().entry(name.to_owned()).or_default().clone();
        file.set_len(0)?;
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files();
        let file = files.remove(from).ok_or_else(not_found)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name).map(drop).ok_or_else(not_found)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

#[derive(Debug, Default)]
struct MemoryFile(RwLock<Vec<u8>>);

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let from = usize::try_from(offset).ok().and_then(|offset| held.get(offset..));
        let part = from.and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if held.len() < end {
            held.resize(end, 0);
        }
        if let Some(part) = held.get_mut(start..end) {
            part.copy_from_slice(bytes);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.0.write().unwrap_or_else(PoisonError::into_inner).resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
