//! Key files that people name: PKCS#8 PEM, encrypted or not.

use std::{fs, path::Path};

use dsc_lib::keys::{KeyError, SecretKey};
use zeroize::Zeroizing;

use crate::{exit::Failure, passphrase::Source};

/// Reads a secret key, asking for the passphrase only if the file is encrypted.
pub(crate) fn read(path: &Path, source: &Source) -> Result<SecretKey, Failure> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| Failure::file("read", path, &error))?;
    match SecretKey::from_pkcs8_pem(&text) {
        Ok(key) => Ok(key),
        Err(KeyError::Encrypted) => {
            let passphrase = source.read(&path.display().to_string())?;
            SecretKey::from_encrypted_pem(&text, passphrase.as_bytes())
                .map_err(|error| failure(path, &error))
        }
        Err(error) => Err(failure(path, &error)),
    }
}

fn failure(path: &Path, error: &KeyError) -> Failure {
    let message = format!("{}: {error}", path.display());
    match error {
        KeyError::WrongPassphrase => Failure::wrong_passphrase(message),
        _ => Failure::corrupt("invalid-key", message)
            .with_hint("a key is RSA-2048 in PKCS#8 PEM; `openssl pkey -in FILE` shows what it is"),
    }
}
