//! Keys at rest: PKCS#8 encrypted by PBES2 (RFC 8018) with scrypt and AES-256-CBC.
//!
//! The parameters N = 2^14, r = 8, p = 5 are the OWASP recommendation that stays within the 32 MiB
//! which `openssl` allows scrypt by default. Files of other tools may use PBKDF2 or other costs;
//! they are read as long as the cost is bounded, because whoever wrote the file chose it.

use rand_core::CryptoRng;
use rsa::pkcs8::{
    EncryptedPrivateKeyInfo, PrivateKeyInfo,
    der::Encode,
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
) -> Zeroizing<Vec<u8>> {
    let (mut salt, mut iv) = ([0; SALT_LEN], [0; IV_LEN]);
    rng.fill_bytes(&mut salt);
    rng.fill_bytes(&mut iv);
    let parameters = parameters(&salt, &iv);
    let encrypted_data = parameters.encrypt(passphrase, document).expect("the parameters are ours");
    let info = EncryptedPrivateKeyInfo {
        encryption_algorithm: parameters.into(),
        encrypted_data: &encrypted_data,
    };
    Zeroizing::new(info.to_der().expect("a key fits a DER document"))
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
    let info = EncryptedPrivateKeyInfo::try_from(document).map_err(malformed)?;
    let EncryptionScheme::Pbes2(parameters) = info.encryption_algorithm else {
        return Err(KeyError::Unsupported { reason: "only PBES2 is read".to_owned() });
    };
    check_cost(&parameters.kdf)?;
    let mut buffer = Zeroizing::new(info.encrypted_data.to_vec());
    let plain = parameters.decrypt_in_place(passphrase, &mut buffer).map_err(from_pkcs5)?;
    // A wrong passphrase leaves valid padding once in 256 times, but no document.
    PrivateKeyInfo::try_from(plain).map_err(|_| KeyError::WrongPassphrase)?;
    Ok(Zeroizing::new(plain.to_vec()))
}

fn from_pkcs5(error: pkcs5::Error) -> KeyError {
    match error {
        // The crate names the failure of either direction after the other one.
        pkcs5::Error::DecryptFailed | pkcs5::Error::EncryptFailed => KeyError::WrongPassphrase,
        other => KeyError::Unsupported { reason: other.to_string() },
    }
}

fn check_cost(kdf: &Kdf<'_>) -> Result<(), KeyError> {
    match kdf {
        Kdf::Scrypt(scrypt) => {
            let block = u64::from(scrypt.block_size).saturating_mul(128);
            let lane = block.saturating_mul(scrypt.cost_parameter);
            let lanes = u64::from(scrypt.parallelization);
            check_limit("memory bytes", lane, MEMORY_BYTES_MAX)?;
            check_limit("mixed bytes", lane.saturating_mul(lanes), MIXED_BYTES_MAX)
        }
        Kdf::Pbkdf2(pbkdf2) => {
            check_limit("iterations", pbkdf2.iteration_count.into(), ITERATIONS_MAX)
        }
        _ => Err(KeyError::Unsupported { reason: "unknown key derivation".to_owned() }),
    }
}

fn check_limit(what: &'static str, got: u64, max: u64) -> Result<(), KeyError> {
    if got > max { Err(KeyError::Costly { what, got, max }) } else { Ok(()) }
}
