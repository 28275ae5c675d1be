//! What keys of the board, notes and names of blobs may be: the same for every engine.

use thiserror::Error;

use super::{BlobError, KEY_BYTES_MAX, NOTE_BYTES_MAX, PutError};

/// A key, a note or a name that no engine takes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It has no bytes.
    #[error("a name has at least one character")]
    Empty,
    /// It has too many bytes.
    #[error("the name has {got} bytes, at most {max} are allowed")]
    Long {
        /// Its bytes.
        got: usize,
        /// Most bytes.
        max: usize,
    },
    /// It has a character that not every engine takes.
    #[error("{got:?} is no character of a name: letters a-z, A-Z, digits, '-', '_' and '.' are")]
    Character {
        /// The first one.
        got: char,
    },
    /// Some engines take dots for the joints of a name.
    #[error("a name neither begins nor ends with a dot, and has no two in a row")]
    Dot,
    /// The note has too many bytes.
    #[error("the note has {got} bytes, at most {max} are allowed")]
    Note {
        /// Its bytes.
        got: usize,
        /// Most bytes.
        max: usize,
    },
}

/// Checks a key of the board, or the name of a blob.
///
/// # Errors
///
/// [`KeyError`].
pub fn check_key(key: &str) -> Result<(), KeyError> {
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(KeyError::Long { got: key.len(), max: KEY_BYTES_MAX });
    }
    let is_fine = |one: &char| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.');
    if let Some(got) = key.chars().find(|one| !is_fine(one)) {
        return Err(KeyError::Character { got });
    }
    if key.split('.').any(str::is_empty) {
        return Err(KeyError::Dot);
    }
    Ok(())
}

/// Checks what is to be put on the board.
///
/// # Errors
///
/// [`KeyError`].
pub fn check_note(key: &str, value: &[u8]) -> Result<(), KeyError> {
    check_key(key)?;
    if value.len() > NOTE_BYTES_MAX {
        return Err(KeyError::Note { got: value.len(), max: NOTE_BYTES_MAX });
    }
    Ok(())
}

impl From<KeyError> for PutError {
    fn from(error: KeyError) -> Self {
        Self::Invalid { reason: error.to_string() }
    }
}

impl From<KeyError> for BlobError {
    fn from(error: KeyError) -> Self {
        Self::Invalid { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_breach_of_a_rule_is_named() {
        let long = "a".repeat(KEY_BYTES_MAX);
        for fine in ["a", "proof.7.work.00ff", "state-000_A", &long] {
            assert_eq!(check_key(fine), Ok(()), "{fine}");
        }
        assert_eq!(check_key(""), Err(KeyError::Empty));
        let got = KEY_BYTES_MAX + 1;
        assert_eq!(check_key(&(long + "a")), Err(KeyError::Long { got, max: KEY_BYTES_MAX }));
        for (key, got) in [("a/b", '/'), ("a b", ' '), ("*", '*'), ("\u{e4}", '\u{e4}')] {
            assert_eq!(check_key(key), Err(KeyError::Character { got }));
        }
        for key in [".", ".a", "a.", "a..b"] {
            assert_eq!(check_key(key), Err(KeyError::Dot), "{key}");
        }
    }

    #[test]
    fn a_note_is_bounded() {
        let most = vec![0; NOTE_BYTES_MAX];
        assert_eq!(check_note("a", &most), Ok(()));
        assert_eq!(check_note("", &most), Err(KeyError::Empty));
        let (got, max) = (NOTE_BYTES_MAX + 1, NOTE_BYTES_MAX);
        let found = check_note("a", &vec![0; got]);
        assert_eq!(found, Err(KeyError::Note { got, max }));
        let reason = "the note has 65537 bytes, at most 65536 are allowed".to_owned();
        assert_eq!(PutError::from(found.unwrap_err()), PutError::Invalid { reason });
        let text = BlobError::from(KeyError::Character { got: '/' }).to_string();
        assert!(text.starts_with("not a name of a blob: '/' is no character"), "{text}");
    }
}
