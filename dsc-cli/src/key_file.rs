//! Key files that people name: PKCS#8 PEM, encrypted or not.

use std::{fs, path::Path};

use dsc_lib::keys::{KeyError, SecretKey};
use zeroize::Zeroizing;

use crate::{exit::Failure, network, passphrase::Source, private::exposed};

/// Reads a secret key, asking for the passphrase only if the file is encrypted.
pub(crate) fn read(path: &Path, source: &Source) -> Result<SecretKey, Failure> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::file("read", path, &error))?;
    match SecretKey::from_pkcs8_pem(&text) {
        Ok(key) => require_private(path, key),
        Err(KeyError::Encrypted) => {
            let passphrase = source.read(&path.display().to_string())?;
            SecretKey::from_encrypted_pem(&text, passphrase.as_bytes())
                .map_err(|error| failure(path, &error))
        }
        Err(error) => Err(failure(path, &error)),
    }
}

/// A key that is not encrypted is a secret only if its file is one; the published keys are none.
fn require_private(path: &Path, key: SecretKey) -> Result<SecretKey, Failure> {
    let metadata = fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
    let Some(mode) = exposed(&metadata) else { return Ok(key) };
    if network::is_published(&key.public().address()) {
        return Ok(key);
    }
    let path = path.display();
    let message = format!("{path} holds a key that is not encrypted, and has mode {mode:03o}");
    let hint = format!("run `chmod 600 {path}`");
    Err(Failure::configuration("key-exposed", message).with_hint(hint))
}

fn failure(path: &Path, error: &KeyError) -> Failure {
    let message = format!("{}: {error}", path.display());
    match error {
        KeyError::WrongPassphrase => Failure::wrong_passphrase(message),
        _ => Failure::corrupt("invalid-key", message)
            .with_hint("a key is RSA-2048 in PKCS#8 PEM; `openssl pkey -in FILE` shows what it is"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use dsc_lib::testing::ALICE;

    use super::*;
    use crate::{entropy::OsEntropy, exit::Exit};

    #[test]
    fn an_unencrypted_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (plain, published) = (ALICE.to_pkcs8_pem(), network::metronome_key().to_pkcs8_pem());
        let encrypted = ALICE.to_encrypted_pem(b"secret", &mut OsEntropy);
        let passphrase = Source::File(write("passphrase", "secret", 0o600));
        let read = |path: std::path::PathBuf| read(&path, &passphrase);

        for mode in [0o644, 0o640, 0o604, 0o620] {
            let failure = read(write("key", &plain, mode)).unwrap_err();
            assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "key-exposed"));
        }
        assert_eq!(read(write("key", &plain, 0o600)).unwrap(), *ALICE);
        assert_eq!(read(write("encrypted", &encrypted, 0o644)).unwrap(), *ALICE);
        assert!(read(write("published", &published, 0o644)).is_ok(), "it is no secret");
    }
}
