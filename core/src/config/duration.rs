//! Durations as people write them.
//!
//! For fields of types that are scanned:
//!
//! ```
//! use std::time::Duration;
//!
//! #[derive(serde::Deserialize)]
//! struct Database {
//!     #[serde(with = "micro::config::duration")]
//!     timeout: Duration,
//! }
//! ```

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::error::{Error, Result};
use crate::spelling::quoted;

const UNITS: [(&str, f64); 7] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// Reads `250ms`, `1.5s` or `1h30m`, as Go writes them: numbers with a unit of `ns`, `us`, `ms`, `s`, `m` or `h`. Zero may be without.
///
/// # Errors
/// `INVALID_ARGUMENT` for anything else.
pub fn parse(text: &str) -> Result<Duration> {
    let wrong = || {
        Error::invalid_argument(format!(
            "{} is no duration: write numbers with units, such as \"250ms\", \"1.5s\" or \"1h30m\"",
            quoted(text)
        ))
    };
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        seconds += number * unit;
        rest = behind;
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// For `#[serde(with = "micro::config::duration")]`.
///
/// # Errors
/// That of the format, for what is no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map_err(|error| D::Error::custom(error.detail()))
}

/// For `#[serde(with = "micro::config::duration")]`.
///
/// # Errors
/// That of the format.
pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{}ns", duration.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("250ms", 250.0),
            ("1.5s", 1500.0),
            ("1h30m", 5_400_000.0),
            ("1m30s", 90_000.0),
            ("0", 0.0),
            ("3us", 0.003),
        ] {
            let read = parse(text).unwrap().as_secs_f64() * 1000.0;
            assert!((read - millis).abs() < 1e-6, "{text}: {read}");
        }
        for wrong in ["", "5", "s", "-1s", "1d", "1.2.3s", "1s2", "∞s"] {
            let error = parse(wrong).expect_err(wrong);
            assert!(error.detail().contains("1h30m"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,20}|([0-9.]{0,30}(ns|ms|s|m|h)){0,4}") {
            let _ = parse(&text);
        }
    }
}
