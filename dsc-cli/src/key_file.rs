//! Key files that people name: PKCS#8 PEM, encrypted or not, and files of the keystore, which hold the
//! public key as well.

use std::{fs, path::Path};

use dsc_lib::keys::{KeyError, SecretKey};
use zeroize::Zeroizing;

use crate::{exit::Failure, network, passphrase::Source, private::exposed};

/// Reads a secret key, asking for the passphrase only if the file is encrypted.
pub(crate) fn read(path: &Path, source: &Source) -> Result<SecretKey, Failure> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::file("read", path, &error))?;
    let text = private_block(&text);
    match SecretKey::from_pkcs8_pem(text) {
        Ok(key) => require_private(path, key),
        Err(KeyError::Encrypted) => {
            let passphrase = source.read(&path.display().to_string())?;
            SecretKey::from_encrypted_pem(text, passphrase.as_bytes())
                .map_err(|error| failure(path, &error))
        }
        Err(error) => Err(failure(path, &error)),
    }
}

/// The private key of a PEM text that may hold other blocks and remarks beside it.
fn private_block(text: &str) -> &str {
    let block = ["PRIVATE KEY", "ENCRYPTED PRIVATE KEY"].into_iter().find_map(|label| {
        let start = text.find(&format!("-----BEGIN {label}-----"))?;
        let (_, block) = text.split_at_checked(start)?;
        let end = format!("-----END {label}-----");
        let len = block.find(&end)?.saturating_add(end.len());
        block.get(..len)
    });
    block.unwrap_or(text)
}

/// A key that is not encrypted is a secret only if its file is one; the published keys are none.
fn require_private(path: &Path, key: SecretKey) -> Result<SecretKey, Failure> {
    let metadata = fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
    let Some(mode) = exposed(path, &metadata) else { return Ok(key) };
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

    /// A file of the keystore holds two blocks; what `openssl` writes has remarks around them.
    #[test]
    fn the_private_key_is_found_among_other_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let passphrase = Source::File(write("passphrase", "secret"));
        let public = ALICE.public().to_spki_pem();
        let encrypted = ALICE.to_encrypted_pem(b"secret", &mut OsEntropy);
        let plain = ALICE.to_pkcs8_pem();
        for key in [encrypted.as_str(), &plain] {
            for text in [format!("{key}{public}"), format!("{public}{key}"), format!("a\n{key}b\n")]
            {
                assert_eq!(read(&write("key", &text), &passphrase).unwrap(), *ALICE, "{text}");
            }
        }
        let store = crate::keystore::Keystore::new(folder.path().join("wallet"));
        let (name, secret) = ("alice".parse().unwrap(), "secret".into());
        store.import(&name, &ALICE, &secret, &mut OsEntropy).unwrap();
        let path = folder.path().join("wallet/alice.pem");
        assert_eq!(read(&path, &passphrase).unwrap(), *ALICE);
        for text in ["", "-----BEGIN PRIVATE KEY-----\n", &public] {
            let failure = read(&write("key", text), &passphrase).unwrap_err();
            assert_eq!((failure.exit(), failure.code()), (Exit::Corrupt, "invalid-key"));
        }
    }

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
