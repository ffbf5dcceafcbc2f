//! One file per command: its options, and what it does.

pub(crate) mod call;
pub(crate) mod completions;
#[cfg(unix)]
pub(crate) mod data;
pub(crate) mod describe;
pub(crate) mod explain;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod publish;
pub(crate) mod services;
pub(crate) mod subscribe;
pub(crate) mod watch;

use std::time::Duration;

/// Nodes or services asked at once.
const AT_ONCE: usize = 16;

/// Reads `500ms`, `2s` or `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    match micro::settings::duration(text) {
        Ok(Duration::ZERO) => Err("a timeout is longer than nothing".to_owned()),
        read => read.map_err(|_| "write it as 500ms, 2s or 1m, at most 8784h".to_owned()),
    }
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
    fn durations_have_a_unit_and_a_length() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["", "5", "s", "0s", "1d", "-1s", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
