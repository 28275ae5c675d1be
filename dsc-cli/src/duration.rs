//! Durations as people write them: `500ms`, `20s`, `1m30s`, `2h`, `7d`.

use std::time::Duration;

use thiserror::Error;

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DurationError {
    /// It does not follow the grammar.
    #[error("`{got}` is not a duration; write a number and ms, s, m, h or d, such as 20s or 1m30s")]
    Malformed {
        /// The text.
        got: String,
    },
    /// It is longer than can be counted.
    #[error("`{got}` is too long")]
    TooLong {
        /// The text.
        got: String,
    },
}

/// Reads a duration.
///
/// # Errors
///
/// [`DurationError`] if a unit is missing, repeated or unknown, or the sum exceeds `u64` ms.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed { got: text.to_owned() };
    let too_long = || DurationError::TooLong { got: text.to_owned() };
    let (mut rest, mut total_ms, mut unit_before) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, unit, tail) = component(rest).ok_or_else(malformed)?;
        // Units come from large to small, each once, so that 5s5s is not read as a sum.
        if unit >= unit_before {
            return Err(malformed());
        }
        let number: u64 = number.parse().map_err(|_| too_long())?;
        total_ms = number
            .checked_mul(unit)
            .and_then(|ms| ms.checked_add(total_ms))
            .ok_or_else(too_long)?;
        (rest, unit_before) = (tail, unit);
    }
    if text.is_empty() { Err(malformed()) } else { Ok(Duration::from_millis(total_ms)) }
}

/// Splits a number and its unit (in milliseconds) off the front.
fn component(text: &str) -> Option<(&str, u64, &str)> {
    let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(end);
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    (!number.is_empty()).then_some((number, unit, tail))
}

/// Writes a duration for people, to a tenth of a second below a minute.
pub fn display(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let cases =
            [("20s", 20_000), ("500ms", 500), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0)];
        for (text, ms) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "20", "s", "1x", "-1s", "1.5s", "5s5s", "30s1m", " 1s", "1 s"] {
            let error = DurationError::Malformed { got: text.to_owned() };
            assert_eq!(parse(text), Err(error), "{text}");
        }
        for text in ["99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse(text), Err(DurationError::TooLong { got: text.to_owned() }));
        }
    }

    #[test]
    fn durations_are_written() {
        assert_eq!(display(Duration::from_millis(1540)), "1.5s");
        assert_eq!(display(Duration::from_secs(61)), "1m01s");
        assert_eq!(display(Duration::from_secs(3660)), "1h01m");
    }
}
