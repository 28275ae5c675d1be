//! Keys at rest: PKCS#8 encrypted by PBES2 (RFC 8018) with scrypt and AES-256-CBC.
//!
//! The parameters N = 2^14, r = 8, p = 5 are the OWASP recommendation that stays within the 32 MiB
//! which `openssl` allows scrypt by default. Files of other tools may use PBKDF2 or other costs;
//! they are read as long as the cost is bounded, because whoever wrote the file chose it.
//!
//! Decrypted documents are wiped when dropped. The crate `pkcs5` leaves the derived AES key on the
//! stack, where later calls overwrite it; that is not under our control.

use rand_core::CryptoRng;
use rsa::pkcs8::{
    self, AlgorithmIdentifierRef, EncryptedPrivateKeyInfo, PrivateKeyInfo,
    der::{Decode, Encode, Reader, SliceReader, asn1::OctetStringRef},
    pkcs5::{
        self, EncryptionScheme,
        pbes2::{Kdf, Parameters, ScryptParams},
    },
};
use zeroize::Zeroizing;

use super::secret::{KeyError, malformed};

const COST: u64 = 1 << 14;
const BLOCK_SIZE: u16 = 8;
const PARALLELIZATION: u16 = 5;
const SALT_LEN: usize = 16;
const IV_LEN: usize = 16;

/// Most memory spent on opening a key: 16 times what our own files need.
const MEMORY_BYTES_MAX: u64 = 1 << 28;
/// Most bytes mixed in doing so.
const MIXED_BYTES_MAX: u64 = 1 << 31;
/// Most iterations of PBKDF2.
const ITERATIONS_MAX: u64 = 10_000_000;

/// Encrypts a PKCS#8 document.
pub(super) fn seal<R: CryptoRng + ?Sized>(
    document: &[u8],
    passphrase: &[u8],
    rng: &mut R,
) -> Vec<u8> {
    let (mut salt, mut iv) = ([0; SALT_LEN], [0; IV_LEN]);
    rng.fill_bytes(&mut salt);
    rng.fill_bytes(&mut iv);
    let parameters = parameters(&salt, &iv);
    let encrypted_data = parameters.encrypt(passphrase, document).expect("the parameters are ours");
    wrap(parameters, &encrypted_data)
}

fn wrap(parameters: Parameters<'_>, encrypted_data: &[u8]) -> Vec<u8> {
    let info = EncryptedPrivateKeyInfo { encryption_algorithm: parameters.into(), encrypted_data };
    info.to_der().expect("a key fits a DER document")
}

fn parameters<'a>(salt: &'a [u8], iv: &'a [u8; IV_LEN]) -> Parameters<'a> {
    let scrypt = ScryptParams {
        salt,
        cost_parameter: COST,
        block_size: BLOCK_SIZE,
        parallelization: PARALLELIZATION,
        key_length: None,
    };
    let encryption = pkcs5::pbes2::EncryptionScheme::Aes256Cbc { iv };
    Parameters { kdf: Kdf::Scrypt(scrypt), encryption }
}

/// Decrypts to a PKCS#8 document.
pub(super) fn open(document: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let info = EncryptedPrivateKeyInfo::try_from(document).map_err(|e| refusal(document, &e))?;
    let EncryptionScheme::Pbes2(parameters) = info.encryption_algorithm else {
        return Err(unsupported("only PBES2 is read"));
    };
    check_cost(&parameters.kdf)?;
    let mut buffer = Zeroizing::new(info.encrypted_data.to_vec());
    let plain = parameters.decrypt_in_place(passphrase, &mut buffer).map_err(from_pkcs5)?;
    // A wrong passphrase leaves valid padding once in 256 times, but no document.
    PrivateKeyInfo::try_from(plain).map_err(|_| KeyError::WrongPassphrase)?;
    Ok(Zeroizing::new(plain.to_vec()))
}

/// Tells a document that is not understood from bytes that are none.
fn refusal(document: &[u8], error: &pkcs8::Error) -> KeyError {
    let envelope = SliceReader::new(document).and_then(|mut reader| {
        reader.sequence(|fields| {
            let algorithm = AlgorithmIdentifierRef::decode(fields)?;
            OctetStringRef::decode(fields)?;
            Ok(algorithm.oid)
        })
    });
    match envelope {
        Ok(oid) => unsupported(&format!("algorithm {oid}: {error}")),
        Err(_) => malformed(error),
    }
}

fn unsupported(reason: &str) -> KeyError {
    KeyError::Unsupported { reason: reason.to_owned() }
}

fn from_pkcs5(error: pkcs5::Error) -> KeyError {
    match error {
        // The crate names the failure of either direction after the other one.
        pkcs5::Error::DecryptFailed | pkcs5::Error::EncryptFailed => KeyError::WrongPassphrase,
        other => unsupported(&other.to_string()),
    }
}

fn check_cost(kdf: &Kdf<'_>) -> Result<(), KeyError> {
    match kdf {
        Kdf::Scrypt(scrypt) => check_scrypt(scrypt),
        Kdf::Pbkdf2(pbkdf2) => {
            check_limit("iterations", pbkdf2.iteration_count.into(), ITERATIONS_MAX)
        }
        _ => Err(unsupported("unknown key derivation")),
    }
}

fn check_scrypt(scrypt: &ScryptParams<'_>) -> Result<(), KeyError> {
    let (block, lanes) = (u64::from(scrypt.block_size), u64::from(scrypt.parallelization));
    // The parser takes such values and the derivation then panics.
    if scrypt.cost_parameter < 2 || !scrypt.cost_parameter.is_power_of_two() || block == 0 {
        return Err(unsupported("scrypt parameters are out of range"));
    }
    let lane_bytes = block.saturating_mul(128).saturating_mul(scrypt.cost_parameter);
    check_limit("memory bytes", lane_bytes, MEMORY_BYTES_MAX)?;
    check_limit("mixed bytes", lane_bytes.saturating_mul(lanes), MIXED_BYTES_MAX)
}

fn check_limit(what: &'static str, got: u64, max: u64) -> Result<(), KeyError> {
    if got > max { Err(KeyError::Costly { what, got, max }) } else { Ok(()) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An encrypted document with the given derivation and ciphertext.
    pub(in crate::keys) fn document(kdf: Kdf<'_>, iv: &[u8; IV_LEN], data: &[u8]) -> Vec<u8> {
        wrap(Parameters { kdf, encryption: pkcs5::pbes2::EncryptionScheme::Aes256Cbc { iv } }, data)
    }
}
