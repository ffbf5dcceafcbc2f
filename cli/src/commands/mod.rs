//! One file per command: its options, and what it does.

pub(crate) mod call;
pub(crate) mod completions;
pub(crate) mod config;
#[cfg(unix)]
pub(crate) mod data;
pub(crate) mod describe;
pub(crate) mod explain;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod leader;
pub(crate) mod lock;
pub(crate) mod locks;
pub(crate) mod publish;
pub(crate) mod services;
pub(crate) mod subscribe;
#[cfg(unix)]
pub(crate) mod topics;
pub(crate) mod watch;

use std::time::{Duration, SystemTime};

use micro::broker::Start;
use prost_reflect::prost_types::Timestamp;

/// Nodes or services asked at once.
const AT_ONCE: usize = 16;

/// Reads `500ms`, `2s` or `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    match micro::settings::duration(text) {
        Ok(Duration::ZERO) => Err("a timeout is longer than nothing".to_owned()),
        read => read.map_err(|_| "write it as 500ms, 2s or 1m, at most 8784h".to_owned()),
    }
}

/// Reads where a subscription begins: `new`, `first`, a number or a time.
fn start(text: &str) -> Result<Start, String> {
    match text {
        "new" => return Ok(Start::New),
        "first" => return Ok(Start::First),
        _ => {}
    }
    if let Ok(sequence) = text.parse() {
        return Ok(Start::Sequence(sequence));
    }
    let time = text.parse::<Timestamp>().ok().and_then(|time| SystemTime::try_from(time).ok());
    time.map(Start::Time).ok_or_else(|| {
        format!(
            "{text:?} is neither `new` nor `first` nor the number of a message nor a time such as 2026-11-28T12:00:00Z"
        )
    })
}

/// Reads a header, `key=value`.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_begins_at_a_number_or_a_time() {
        assert_eq!(start("first"), Ok(Start::First));
        assert_eq!(start("17"), Ok(Start::Sequence(17)));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(start("2023-11-14T22:13:20Z"), Ok(Start::Time(time)));
        assert!(start("yesterday").is_err());
    }

    #[test]
    fn durations_have_a_unit_and_a_length() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["", "5", "s", "0s", "1d", "-1s", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
