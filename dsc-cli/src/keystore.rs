//! The keystore: a folder of wallet keys, each encrypted under its own passphrase.
//!
//! The key `alice` is the file `alice.pem`: an encrypted PKCS#8 key, then the public key, so that
//! addresses are listed without a passphrase and `openssl pkey` reads either.
//!
//! # Invariants
//!
//! 1. A key file is there whole or not at all, also after a crash, and is on disk when a function
//!    that wrote it returns.
//! 2. Nothing but [`Keystore::remove`] and [`Keystore::change_passphrase`] touches an existing key.
//! 3. Only its owner can read a key file or list the folder.
//! 4. A loaded key is the one whose public half was shown.

use std::{
    fmt,
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use dsc_lib::keys::{KeyError, PublicKey, PublicKeyError, SecretKey};
use rand_core::CryptoRng;
use tempfile::NamedTempFile;
use thiserror::Error;

use crate::passphrase::Passphrase;

/// Most characters of a key's name; every address has more.
pub(crate) const NAME_LEN_MAX: usize = 32;
const EXTENSION: &str = "pem";
/// Longest key file that is read; ours have under 2,500 bytes.
const FILE_LEN_MAX: u64 = 32_768;
const PUBLIC_START: &str = "-----BEGIN PUBLIC KEY-----";

/// The name of a key: 1 to 32 of `a-z`, `0-9`, `_` and `-`, so it is a file name everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyName(String);

/// A text that is not the name of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key name is 1 to {NAME_LEN_MAX} of the characters a-z, 0-9, _ and -")]
pub(crate) struct KeyNameError;

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let fits = (1..=NAME_LEN_MAX).contains(&text.len());
        if fits && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyNameError)
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What can go wrong with a keystore.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum KeystoreError {
    /// No key has this name.
    #[error("there is no key {name:?} in {}", folder.display())]
    NotFound {
        /// Name asked for.
        name: String,
        /// Folder searched.
        folder: PathBuf,
    },
    /// Another key has this name.
    #[error("there is a key {name:?} in {} already", folder.display())]
    Exists {
        /// Name asked for.
        name: String,
        /// Folder searched.
        folder: PathBuf,
    },
    /// The passphrase does not open the key.
    #[error("wrong passphrase for key {name:?}")]
    WrongPassphrase {
        /// Name of the key.
        name: String,
    },
    /// The file is not what the keystore wrote.
    #[error("the key file {} is damaged: {reason}", path.display())]
    Corrupt {
        /// File in question.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No key could be made.
    #[error("cannot make a key: {0}")]
    Generate(#[source] KeyError),
    /// The file system failed.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
}

/// One line of a list: a key, or why its file could not be read.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The name of the key.
    pub(crate) name: KeyName,
    /// Its public half.
    pub(crate) public: Result<PublicKey, KeystoreError>,
}

/// A folder of keys; made when the first key is.
#[derive(Clone, Debug)]
pub(crate) struct Keystore {
    folder: PathBuf,
}

impl Keystore {
    /// Names the folder and touches nothing.
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Makes a key and keeps it under `name`.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Exists`], or a failure to make or write it.
    pub(crate) fn create<R: CryptoRng>(
        &self,
        name: &KeyName,
        passphrase: &Passphrase,
        rng: &mut R,
    ) -> Result<PublicKey, KeystoreError> {
        // Asked early because making a key takes a while; `import` asks again, atomically.
        self.check_free(name)?;
        let key = SecretKey::generate(rng).map_err(KeystoreError::Generate)?;
        self.import(name, &key, passphrase, rng)?;
        Ok(*key.public())
    }

    /// Checks that no key is called `name`.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Exists`]
    pub(crate) fn check_free(&self, name: &KeyName) -> Result<(), KeystoreError> {
        if self.path(name).exists() { Err(self.exists(name)) } else { Ok(()) }
    }

    /// The key called `name` as it is kept: encrypted PKCS#8 PEM.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`] if there is none or the file is damaged.
    pub(crate) fn encrypted(&self, name: &KeyName) -> Result<String, KeystoreError> {
        self.read(name).map(|(private, _)| private)
    }

    /// Keeps `key` under `name`.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Exists`], or a failure to write it.
    pub(crate) fn import<R: CryptoRng>(
        &self,
        name: &KeyName,
        key: &SecretKey,
        passphrase: &Passphrase,
        rng: &mut R,
    ) -> Result<(), KeystoreError> {
        let path = self.path(name);
        self.make_folder()?;
        let file = self.write(key, passphrase, rng)?;
        file.persist_noclobber(&path).map_err(|failure| match failure.error.kind() {
            io::ErrorKind::AlreadyExists => self.exists(name),
            _ => io_error("write", &path)(failure.error),
        })?;
        self.sync()
    }

    /// Opens the key called `name`.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`] if there is none, the passphrase is wrong or the file is damaged.
    pub(crate) fn load(
        &self,
        name: &KeyName,
        passphrase: &Passphrase,
    ) -> Result<SecretKey, KeystoreError> {
        let (private, public) = self.read(name)?;
        let corrupt = |reason: String| KeystoreError::Corrupt { path: self.path(name), reason };
        let key = SecretKey::from_encrypted_pem(&private, passphrase.as_bytes());
        let key = key.map_err(|error| match error {
            KeyError::WrongPassphrase => KeystoreError::WrongPassphrase { name: name.to_string() },
            error => corrupt(error.to_string()),
        })?;
        if *key.public() == public {
            Ok(key)
        } else {
            Err(corrupt("its public key is that of another key".to_owned()))
        }
    }

    /// The public half of the key called `name`; needs no passphrase.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`] if there is none or the file is damaged.
    pub(crate) fn public(&self, name: &KeyName) -> Result<PublicKey, KeystoreError> {
        self.read(name).map(|(_, public)| public)
    }

    /// Every key, in the order of names; a folder that is not there holds none.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Io`] if the folder cannot be read; a bad file is in its entry.
    pub(crate) fn list(&self) -> Result<Vec<Entry>, KeystoreError> {
        let failed = |error| io_error("list", &self.folder)(error);
        let files = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(failed)?,
        };
        let mut names = Vec::new();
        for file in files {
            names.extend(key_name(&file.map_err(failed)?.path()));
        }
        names.sort();
        let entry = |name| Entry { public: self.public(&name), name };
        Ok(names.into_iter().map(entry).collect())
    }

    /// Deletes the key called `name`; without another copy its coins are lost.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`] if there is none or it cannot be deleted.
    pub(crate) fn remove(&self, name: &KeyName) -> Result<(), KeystoreError> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|error| self.missing(name, "delete", error))?;
        self.sync()
    }

    /// Encrypts the key called `name` under another passphrase.
    ///
    /// # Errors
    ///
    /// What [`Keystore::load`] finds, or a failure to write it; the old file is then still there.
    pub(crate) fn change_passphrase<R: CryptoRng>(
        &self,
        name: &KeyName,
        old: &Passphrase,
        new: &Passphrase,
        rng: &mut R,
    ) -> Result<(), KeystoreError> {
        let key = self.load(name, old)?;
        let path = self.path(name);
        let file = self.write(&key, new, rng)?;
        file.persist(&path).map_err(|failure| io_error("replace", &path)(failure.error))?;
        self.sync()
    }

    fn path(&self, name: &KeyName) -> PathBuf {
        self.folder.join(format!("{name}.{EXTENSION}"))
    }

    fn exists(&self, name: &KeyName) -> KeystoreError {
        KeystoreError::Exists { name: name.to_string(), folder: self.folder.clone() }
    }

    fn missing(&self, name: &KeyName, action: &'static str, error: io::Error) -> KeystoreError {
        match error.kind() {
            io::ErrorKind::NotFound => {
                KeystoreError::NotFound { name: name.to_string(), folder: self.folder.clone() }
            }
            _ => io_error(action, &self.path(name))(error),
        }
    }

    fn make_folder(&self) -> Result<(), KeystoreError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.folder).map_err(io_error("make", &self.folder))
    }

    /// Writes the key to a nameless place in the folder, down to the disk.
    fn write<R: CryptoRng>(
        &self,
        key: &SecretKey,
        passphrase: &Passphrase,
        rng: &mut R,
    ) -> Result<NamedTempFile, KeystoreError> {
        let text = key.to_encrypted_pem(passphrase.as_bytes(), rng) + &key.public().to_spki_pem();
        let write = || {
            // Made for its owner alone, and deleted unless it is given a name.
            let mut file = NamedTempFile::new_in(&self.folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        write().map_err(io_error("write to", &self.folder))
    }

    /// Makes the names in the folder durable.
    fn sync(&self) -> Result<(), KeystoreError> {
        let sync = || File::open(&self.folder)?.sync_all();
        sync().map_err(io_error("sync", &self.folder))
    }

    /// Returns the encrypted key as text and the public key.
    fn read(&self, name: &KeyName) -> Result<(String, PublicKey), KeystoreError> {
        let path = self.path(name);
        let mut text = String::new();
        let read = File::open(&path)
            .and_then(|file| file.take(FILE_LEN_MAX.saturating_add(1)).read_to_string(&mut text));
        let corrupt = |reason: String| KeystoreError::Corrupt { path: path.clone(), reason };
        match read {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(corrupt("it is not a text".to_owned()));
            }
            Err(error) => return Err(self.missing(name, "read", error)),
            Ok(len) if len as u64 > FILE_LEN_MAX => {
                return Err(corrupt(format!("it is longer than {FILE_LEN_MAX} bytes")));
            }
            Ok(_) => {}
        }
        let public = split_public(&mut text).map_err(|error| corrupt(error.to_string()))?;
        Ok((text, public))
    }
}

/// Cuts the public key from the end of `text`.
fn split_public(text: &mut String) -> Result<PublicKey, PublicKeyError> {
    let start = text.find(PUBLIC_START).ok_or(PublicKeyError::NotSpki)?;
    PublicKey::from_spki_pem(&text.split_off(start))
}

/// The name of the key in a file, or `None` if it is none of ours.
fn key_name(path: &Path) -> Option<KeyName> {
    path.extension().filter(|extension| *extension == EXTENSION)?;
    path.file_stem()?.to_str()?.parse().ok()
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeystoreError {
    let path = path.to_owned();
    move |error| KeystoreError::Io { action, path, error }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use tempfile::TempDir;

    use super::*;

    struct Fixture {
        _folder: TempDir,
        store: Keystore,
        key: SecretKey,
        rng: ChaCha20Rng,
    }

    /// An empty keystore and a key that is not in it.
    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = Keystore::new(folder.path().join("deep").join("keys"));
        let key = SecretKey::from_pkcs8_pem(include_str!("../dev-keys/account-00.pem")).unwrap();
        Fixture { _folder: folder, store, key, rng: ChaCha20Rng::seed_from_u64(3) }
    }

    /// A keystore that holds the key `alice` under the passphrase `secret`.
    fn alice() -> Fixture {
        let mut all = fixture();
        all.store.import(&name("alice"), &all.key, &"secret".into(), &mut all.rng).unwrap();
        all
    }

    fn name(text: &str) -> KeyName {
        text.parse().unwrap()
    }

    fn names(store: &Keystore) -> Vec<String> {
        store.list().unwrap().iter().map(|entry| entry.name.to_string()).collect()
    }

    #[test]
    fn names_are_plain() {
        for text in ["a", "alice", "0_a-b", &"x".repeat(32)] {
            assert_eq!(name(text).to_string(), text);
        }
        for text in ["", "A", "a.b", "../a", "a/b", "a b", "\u{e4}", ".", &"x".repeat(33)] {
            assert_eq!(text.parse::<KeyName>(), Err(KeyNameError), "{text:?}");
        }
        let message = KeyNameError.to_string();
        assert_eq!(message, "a key name is 1 to 32 of the characters a-z, 0-9, _ and -");
    }

    #[test]
    fn a_created_key_is_listed_and_loaded() {
        let mut all = fixture();
        assert!(all.store.list().unwrap().is_empty());
        let public = all.store.create(&name("bob"), &"secret".into(), &mut all.rng).unwrap();
        let list = all.store.list().unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].public.as_ref().unwrap(), &public);
        assert_eq!(all.store.public(&name("bob")).unwrap(), public);
        let key = all.store.load(&name("bob"), &"secret".into()).unwrap();
        assert_eq!(*key.public(), public);
    }

    #[test]
    fn the_list_is_sorted_and_shows_keys_only() {
        let mut all = alice();
        for other in ["zoe", "bob"] {
            all.store.import(&name(other), &all.key, &"x".into(), &mut all.rng).unwrap();
        }
        for other in ["notes.txt", "UPPER.pem", ".tmp123", "bob"] {
            fs::write(all.store.folder.join(other), "").unwrap();
        }
        fs::write(all.store.folder.join("bad.pem"), "no key").unwrap();
        assert_eq!(names(&all.store), ["alice", "bad", "bob", "zoe"]);
        let list = all.store.list().unwrap();
        assert!(matches!(list[1].public, Err(KeystoreError::Corrupt { .. })));
        assert!(list[2].public.is_ok());
    }

    #[test]
    fn nothing_is_overwritten() {
        let mut all = alice();
        let before = fs::read(all.store.path(&name("alice"))).unwrap();
        let created = all.store.create(&name("alice"), &"x".into(), &mut all.rng).unwrap_err();
        let imported = all.store.import(&name("alice"), &all.key, &"x".into(), &mut all.rng);
        for error in [created, imported.unwrap_err()] {
            let folder = all.store.folder.display();
            let message = format!("there is a key \"alice\" in {folder} already");
            assert_eq!(error.to_string(), message);
        }
        assert_eq!(fs::read(all.store.path(&name("alice"))).unwrap(), before);
        assert_eq!(fs::read_dir(&all.store.folder).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_missing_key_is_named() {
        let mut all = fixture();
        let (nobody, any) = (name("nobody"), Passphrase::from("x"));
        let folder = all.store.folder.display().to_string();
        for error in [
            all.store.load(&nobody, &any).unwrap_err(),
            all.store.public(&nobody).unwrap_err(),
            all.store.remove(&nobody).unwrap_err(),
            all.store.change_passphrase(&nobody, &any, &any, &mut all.rng).unwrap_err(),
        ] {
            assert_eq!(error.to_string(), format!("there is no key \"nobody\" in {folder}"));
        }
    }

    #[test]
    fn a_removed_key_is_gone() {
        let all = alice();
        all.store.remove(&name("alice")).unwrap();
        assert!(names(&all.store).is_empty());
        let error = all.store.load(&name("alice"), &"secret".into()).unwrap_err();
        assert!(matches!(error, KeystoreError::NotFound { .. }));
    }

    #[test]
    fn a_changed_passphrase_replaces_the_old_one() {
        let mut all = alice();
        let (alice, old, new) = (name("alice"), Passphrase::from("secret"), Passphrase::from("n"));
        let wrong = all.store.change_passphrase(&alice, &new, &old, &mut all.rng).unwrap_err();
        assert_eq!(wrong.to_string(), "wrong passphrase for key \"alice\"");
        assert!(all.store.load(&alice, &old).is_ok());
        all.store.change_passphrase(&alice, &old, &new, &mut all.rng).unwrap();
        assert_eq!(all.store.load(&alice, &new).unwrap(), all.key);
        let error = all.store.load(&alice, &old).unwrap_err();
        assert!(matches!(error, KeystoreError::WrongPassphrase { .. }));
    }

    #[test]
    fn damaged_files_are_named() {
        let all = alice();
        let path = all.store.path(&name("alice"));
        let good = fs::read_to_string(&path).unwrap();
        let other = SecretKey::from_pkcs8_pem(include_str!("../dev-keys/account-01.pem")).unwrap();
        let swapped = good.split(PUBLIC_START).next().unwrap().to_owned();
        let swapped = swapped + &other.public().to_spki_pem();
        let plain = all.key.to_pkcs8_pem().to_string() + &all.key.public().to_spki_pem();
        for (bytes, reason) in [
            (swapped.into_bytes(), "its public key is that of another key"),
            (plain.into_bytes(), "the key is not encrypted: it needs no passphrase"),
            (vec![b' '; 32_769], "it is longer than 32768 bytes"),
            (vec![0xff; 10], "it is not a text"),
            (Vec::new(), "not an RSA-2048 public key with exponent 65537 in PEM"),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = all.store.load(&name("alice"), &"secret".into()).unwrap_err();
            let message = format!("the key file {} is damaged: {reason}", path.display());
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_truncated_file_never_loads() {
        let all = alice();
        let path = all.store.path(&name("alice"));
        let good = fs::read(&path).unwrap();
        for len in (0..good.len() - 1).step_by(101) {
            fs::write(&path, &good[..len]).unwrap();
            let error = all.store.load(&name("alice"), &"secret".into()).unwrap_err();
            assert!(matches!(error, KeystoreError::Corrupt { .. }), "{len}: {error}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let mut all = fixture();
        let file = NamedTempFile::new().unwrap();
        let store = Keystore::new(file.path());
        let error = store.import(&name("a"), &all.key, &"x".into(), &mut all.rng).unwrap_err();
        let start = format!("cannot make {}: ", file.path().display());
        assert!(error.to_string().starts_with(&start), "{error}");
        assert!(matches!(store.list(), Err(KeystoreError::Io { action: "list", .. })));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_has_access() {
        use std::os::unix::fs::PermissionsExt;
        let mut all = alice();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = all.store.path(&name("alice"));
        assert_eq!((mode(&all.store.folder), mode(&path)), (0o700, 0o600));
        let (old, new) = (Passphrase::from("secret"), Passphrase::from("new"));
        all.store.change_passphrase(&name("alice"), &old, &new, &mut all.rng).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    /// The second block does not keep `openssl` from reading the first.
    #[test]
    fn openssl_reads_a_key_file() {
        let all = alice();
        let path = all.store.path(&name("alice"));
        let passphrase = all.store.folder.join("passphrase");
        fs::write(&passphrase, "secret").unwrap();
        let passphrase = format!("file:{}", passphrase.display());
        let mut command = std::process::Command::new("openssl");
        command.args(["pkey", "-passin", &passphrase, "-in"]).arg(&path);
        match command.output() {
            Ok(output) => assert_eq!(output.stdout, all.key.to_pkcs8_pem().as_bytes()),
            Err(error) => {
                let line = format!("left out: openssl does not run: {error}\n");
                io::stderr().write_all(line.as_bytes()).unwrap();
            }
        }
    }
}
