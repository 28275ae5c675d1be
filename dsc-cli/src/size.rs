//! Sizes in bytes as people write them: `512MiB`, `4GiB`, `1.5TB`, `4096`.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// Decimals that are read; more would be lost in the multiplication anyway.
const DECIMALS_MAX: usize = 6;

/// A number of bytes.
///
/// An argument of this type needs no value parser of its own: clap reads what has [`FromStr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SizeError {
    /// It does not follow the grammar.
    #[error(
        "`{got}` is not a size; write a number and KiB, MiB, GiB or TiB, such as 512MiB, or bytes"
    )]
    Malformed {
        /// The text.
        got: String,
    },
    /// It is more than can be counted.
    #[error("`{got}` is too large")]
    TooLarge {
        /// The text.
        got: String,
    },
}

/// The factor of a unit; powers of 1000 are read because disks are sold by them.
fn factor(unit: &str) -> Option<u64> {
    let (decimal, binary) = (1000_u64, 1024_u64);
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => binary,
        "mib" => binary.pow(2),
        "gib" => binary.pow(3),
        "tib" => binary.pow(4),
        "kb" => decimal,
        "mb" => decimal.pow(2),
        "gb" => decimal.pow(3),
        "tb" => decimal.pow(4),
        _ => return None,
    })
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let malformed = || SizeError::Malformed { got: text.to_owned() };
        let too_large = || SizeError::TooLarge { got: text.to_owned() };
        let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (whole, part) = match number.split_once('.') {
            // A part of a byte is none.
            Some((_, part)) if part.is_empty() || unit.is_empty() => return Err(malformed()),
            Some(split) => split,
            None => (number, "0"),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > DECIMALS_MAX {
            return Err(malformed());
        }
        let factor = factor(unit).ok_or_else(malformed)?;
        let scale = 10_u128.pow(u32::try_from(part.len()).map_err(|_| malformed())?);
        let whole: u64 = whole.parse().map_err(|_| too_large())?;
        let part: u64 = part.parse().map_err(|_| malformed())?;
        let bytes =
            u128::from(whole) * u128::from(factor) + u128::from(part) * u128::from(factor) / scale;
        u64::try_from(bytes).map(Self).map_err(|_| too_large())
    }
}

impl fmt::Display for ByteSize {
    /// Writes the size in the largest unit that it fills, to a tenth if that is not exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let Some((bits, unit)) = units.into_iter().find(|(bits, _)| self.0 >> bits > 0) else {
            return write!(f, "{} bytes", self.0);
        };
        let (whole, rest) = (self.0 >> bits, self.0 & ((1 << bits) - 1));
        match rest {
            0 => write!(f, "{whole} {unit}"),
            _ => write!(f, "{whole}.{} {unit}", (u128::from(rest) * 10) >> bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("4096B", 4096),
            ("512MiB", 512 << 20),
            ("512mib", 512 << 20),
            ("4GiB", 4 << 30),
            ("1.5TiB", 3 << 39),
            ("64KiB", 64 << 10),
            ("8TB", 8_000_000_000_000),
            ("1.25kB", 1250),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let malformed = [
            "",
            "MiB",
            ".5GiB",
            "1.GiB",
            "1.5",
            "1..5GiB",
            "1.2.3GiB",
            "-1",
            "+1",
            "1 GiB",
            "1G",
            "512M",
            "1PiB",
            "0x10",
            "1.0000001GiB",
        ];
        for text in malformed {
            let error = SizeError::Malformed { got: text.to_owned() };
            assert_eq!(text.parse::<ByteSize>(), Err(error), "{text}");
        }
        for text in ["18446744073709551616", "99999999999TiB", "16777216TiB"] {
            let error = SizeError::TooLarge { got: text.to_owned() };
            assert_eq!(text.parse::<ByteSize>(), Err(error), "{text}");
        }
        let text = "1G".parse::<ByteSize>().unwrap_err().to_string();
        assert!(text.starts_with("`1G` is not a size; write a number and KiB"), "{text}");
        let text = "99999999999TiB".parse::<ByteSize>().unwrap_err().to_string();
        assert_eq!(text, "`99999999999TiB` is too large");
    }

    #[test]
    fn sizes_are_written() {
        let cases = [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (512 << 20, "512 MiB"),
            (3 << 39, "1.5 TiB"),
            (u64::MAX, "16777215.9 TiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
