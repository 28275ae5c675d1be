//! Passphrases: from the terminal without echo, from a file or from an open descriptor.
//!
//! # Invariants
//!
//! 1. A passphrase is never an argument or a variable, so no process list or history shows it.
//! 2. It is wiped from memory when dropped, and `Debug` hides it.
//! 3. An empty one is refused unless a file, which somebody made on purpose, holds it.
//! 4. A file that others can read is told of, and used: the secrets that container systems hand to a
//!    process are such files, and nobody inside can change their mode.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::{output::note, private::exposed};

/// Longest passphrase in bytes.
const LEN_MAX: usize = 1024;

/// A passphrase that could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum PassphraseError {
    /// Two sources were named.
    #[error("--passphrase-file and --passphrase-fd exclude each other")]
    TwoSources,
    /// There is no terminal to ask on.
    #[error(
        "the key needs a passphrase, and there is no terminal to ask for it on: \
         use --passphrase-file or --passphrase-fd"
    )]
    NoTerminal(#[source] io::Error),
    /// The file or descriptor cannot be read.
    #[error("cannot read the passphrase from {}: {error}", path.display())]
    Unreadable {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
    /// Nothing was typed or received.
    #[error("the passphrase is empty")]
    Empty,
    /// Far more than a passphrase was received.
    #[error("the passphrase is longer than {LEN_MAX} bytes")]
    TooLong,
    /// The two entries of a new passphrase differ.
    #[error("the two passphrases differ")]
    Differ,
}

/// A passphrase, held until dropped and no longer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// The bytes that open a key.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes the first line of `bytes`, as `openssl -passin file:` does.
    fn from_line(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, PassphraseError> {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        bytes.truncate(end);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if bytes.len() > LEN_MAX { Err(PassphraseError::TooLong) } else { Ok(Self(bytes)) }
    }

    fn not_empty(self) -> Result<Self, PassphraseError> {
        if self.0.is_empty() { Err(PassphraseError::Empty) } else { Ok(self) }
    }
}

#[cfg(test)]
impl From<&str> for Passphrase {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Where a passphrase comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Typed at the terminal, without echo.
    Terminal,
    /// The first line of a file.
    File(PathBuf),
    /// The first line of what an open descriptor gives.
    Descriptor(u32),
}

impl Source {
    /// Reads the flags `--passphrase-file` and `--passphrase-fd`; neither means the terminal.
    ///
    /// # Errors
    ///
    /// [`PassphraseError::TwoSources`] if both are there.
    pub(crate) fn from_flags(
        file: Option<PathBuf>,
        descriptor: Option<u32>,
    ) -> Result<Self, PassphraseError> {
        match (file, descriptor) {
            (None, None) => Ok(Self::Terminal),
            (Some(path), None) => Ok(Self::File(path)),
            (None, Some(descriptor)) => Ok(Self::Descriptor(descriptor)),
            (Some(_), Some(_)) => Err(PassphraseError::TwoSources),
        }
    }

    /// Gets the passphrase of the key that is called `name`.
    ///
    /// # Errors
    ///
    /// [`PassphraseError`] if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Passphrase, PassphraseError> {
        self.read_with(&format!("Passphrase for {name}: "), &mut rpassword::prompt_password)
    }

    /// Gets a new passphrase for the key that is called `name`; at the terminal, twice.
    ///
    /// # Errors
    ///
    /// [`PassphraseError`] if there is none, or the two entries differ.
    pub(crate) fn read_new(&self, name: &str) -> Result<Passphrase, PassphraseError> {
        self.read_new_with(name, &mut rpassword::prompt_password)
    }

    fn read_new_with(
        &self,
        name: &str,
        ask: &mut dyn FnMut(String) -> io::Result<String>,
    ) -> Result<Passphrase, PassphraseError> {
        let first = self.read_with(&format!("New passphrase for {name}: "), ask)?;
        if *self != Self::Terminal || first == self.read_with("The same again: ", ask)? {
            Ok(first)
        } else {
            Err(PassphraseError::Differ)
        }
    }

    fn read_with(
        &self,
        prompt: &str,
        ask: &mut dyn FnMut(String) -> io::Result<String>,
    ) -> Result<Passphrase, PassphraseError> {
        match self {
            Self::Terminal => {
                let line = ask(prompt.to_owned()).map_err(PassphraseError::NoTerminal)?;
                Passphrase::from_line(Zeroizing::new(line.into_bytes()))?.not_empty()
            }
            Self::File(path) => {
                warn_if_exposed(path);
                from_file(path)
            }
            Self::Descriptor(descriptor) => from_file(&descriptor_path(*descriptor))?.not_empty(),
        }
    }
}

/// Says that others can read the file, if it is one.
fn warn_if_exposed(path: &Path) {
    if let Some(warning) = exposure(path) {
        note(warning);
    }
}

fn exposure(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    // To write into it is not to read it: whoever can only do that learns nothing.
    let mode = exposed(path, &metadata).filter(|mode| mode & 0o044 != 0)?;
    let path = path.display();
    Some(format!(
        "warning: others can read the passphrase in {path} (mode {mode:03o}): `chmod 600 {path}`"
    ))
}

/// The name under which the system opens a descriptor of this process again.
fn descriptor_path(descriptor: u32) -> PathBuf {
    Path::new("/dev/fd").join(descriptor.to_string())
}

fn from_file(path: &Path) -> Result<Passphrase, PassphraseError> {
    let unreadable = |error| PassphraseError::Unreadable { path: path.to_owned(), error };
    // One more than fits, a line end, and never a second allocation that would leave a copy behind.
    let mut bytes = Zeroizing::new(vec![0; LEN_MAX + 3]);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut len = 0;
    while len < bytes.len() && !bytes[..len].contains(&b'\n') {
        match file.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    bytes.truncate(len);
    Passphrase::from_line(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsRawFd, unix::fs::PermissionsExt};

    use super::*;

    /// Answers each prompt with the next of `lines`.
    fn typing(lines: &[&str]) -> impl FnMut(String) -> io::Result<String> {
        let mut lines: Vec<String> = lines.iter().rev().map(ToString::to_string).collect();
        move |_| lines.pop().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn the_terminal_asks_twice_for_a_new_one() {
        let source = Source::from_flags(None, None).unwrap();
        let found = source.read_new_with("a", &mut typing(&["secret", "secret"])).unwrap();
        assert_eq!(found, Passphrase::from("secret"));
        let error = source.read_new_with("a", &mut typing(&["secret", "other"])).unwrap_err();
        assert_eq!(error.to_string(), "the two passphrases differ");
        let found = source.read_with("", &mut typing(&["secret"])).unwrap();
        assert_eq!(found.as_bytes(), b"secret");
    }

    #[test]
    fn without_a_terminal_the_flags_are_named() {
        let error = Source::Terminal.read_with("", &mut typing(&[])).unwrap_err().to_string();
        assert!(error.ends_with(": use --passphrase-file or --passphrase-fd"), "{error}");
    }

    #[test]
    fn a_file_gives_its_first_line() {
        for bytes in [&b"secret"[..], b"secret\n", b"secret\r\n", b"secret\nmore\n"] {
            let (_folder, path) = file(bytes);
            let source = Source::from_flags(Some(path), None).unwrap();
            assert_eq!(source.read("a").unwrap().as_bytes(), b"secret");
            assert_eq!(source.read_new("a").unwrap().as_bytes(), b"secret");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_told_of() {
        let (folder, path) = file(b"secret");
        for (mode, is_told) in [(0o600, false), (0o400, false), (0o644, true), (0o440, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let warning = exposure(&path);
            assert_eq!(warning.is_some(), is_told, "{mode:o}");
            if let Some(warning) = warning {
                assert!(warning.contains(&format!("(mode {mode:o}): `chmod 600 ")), "{warning}");
            }
        }
        assert_eq!(exposure(folder.path()), None, "no file");
        assert_eq!(exposure(Path::new("/dev/null")), None);
    }

    #[test]
    fn a_descriptor_gives_its_first_line() {
        let (_folder, path) = file(b"secret\nmore");
        let open = File::open(path).unwrap();
        let descriptor = u32::try_from(open.as_raw_fd()).unwrap();
        let source = Source::from_flags(None, Some(descriptor)).unwrap();
        assert_eq!(source.read("a").unwrap().as_bytes(), b"secret");
    }

    #[test]
    fn a_pipe_gives_its_first_line_open_or_closed() {
        for (written, closed) in [(&b"secret\n"[..], false), (b"secret", true)] {
            let (reader, mut writer) = io::pipe().unwrap();
            io::Write::write_all(&mut writer, written).unwrap();
            let kept = (!closed).then_some(writer);
            let source = Source::Descriptor(u32::try_from(reader.as_raw_fd()).unwrap());
            assert_eq!(source.read("a").unwrap().as_bytes(), b"secret");
            drop(kept);
        }
    }

    #[test]
    fn only_a_file_may_hold_an_empty_one() {
        let (_folder, path) = file(b"\n");
        assert_eq!(Source::File(path.clone()).read("a").unwrap().as_bytes(), b"");
        let error = Source::Terminal.read_with("", &mut typing(&[""])).unwrap_err();
        assert_eq!(error.to_string(), "the passphrase is empty");
        let open = File::open(path).unwrap();
        let source = Source::Descriptor(u32::try_from(open.as_raw_fd()).unwrap());
        assert!(matches!(source.read("a"), Err(PassphraseError::Empty)));
    }

    #[test]
    fn length_is_bounded() {
        for end in ["", "\n", "\r\n"] {
            let (_folder, path) = file(format!("{}{end}", "x".repeat(1024)).as_bytes());
            assert_eq!(Source::File(path).read("a").unwrap().as_bytes().len(), 1024);
            let (_folder, path) = file(format!("{}{end}", "x".repeat(1025)).as_bytes());
            let error = Source::File(path).read("a").unwrap_err().to_string();
            assert_eq!(error, "the passphrase is longer than 1024 bytes");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = Source::File("no/such".into()).read("a").unwrap_err().to_string();
        assert!(error.starts_with("cannot read the passphrase from no/such: "), "{error}");
        assert!(Source::Descriptor(9999).read("a").is_err());
        let error = Source::from_flags(Some("x".into()), Some(3)).unwrap_err().to_string();
        assert_eq!(error, "--passphrase-file and --passphrase-fd exclude each other");
    }

    #[test]
    fn debug_hides_the_passphrase() {
        assert_eq!(format!("{:?}", Passphrase::from("secret")), "Passphrase(..)");
    }
}
