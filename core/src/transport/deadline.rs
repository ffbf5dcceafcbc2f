//! How much time a call has, in the two notations that go with it.
//!
//! gRPC's `grpc-timeout` is at most eight digits and a unit; go-micro's `timeout` is decimal
//! nanoseconds (wire reference 1.2). Both are written, but for gRPC's alone to our own nodes; the shorter of the two is read.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(crate) const MICRO_TIMEOUT: HeaderName = HeaderName::from_static("timeout");

/// Time the caller gives this call; `None` when it waits for ever. Unreadable values count as
/// absent, as in go-micro.
pub(crate) fn read_timeout(headers: &HeaderMap) -> Option<Duration> {
    let grpc = headers.get(GRPC_TIMEOUT).and_then(|value| parse_grpc(value.as_bytes()));
    let micro = headers
        .get(MICRO_TIMEOUT)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_nanos);
    match (grpc, micro) {
        (Some(grpc), Some(micro)) => Some(grpc.min(micro)),
        (grpc, micro) => grpc.or(micro),
    }
}

/// Writes both notations of the time that is left.
pub(crate) fn write_timeout(headers: &mut HeaderMap, left: Duration) {
    write_grpc_timeout(headers, left);
    let nanos = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
    headers.insert(MICRO_TIMEOUT, once(HeaderValue::from(nanos)));
}

/// Writes the time that is left in gRPC's notation alone.
pub(crate) fn write_grpc_timeout(headers: &mut HeaderMap, left: Duration) {
    if let Ok(value) = HeaderValue::from_str(&format_grpc(left)) {
        headers.insert(GRPC_TIMEOUT, once(value));
    }
}

/// Writes that there is no deadline.
pub(crate) fn remove_timeout(headers: &mut HeaderMap) {
    headers.remove(GRPC_TIMEOUT);
    headers.remove(MICRO_TIMEOUT);
}

/// Marks a value that no other call will have: HPACK then keeps it out of its table, where it would
/// push out the values that every call has.
pub(crate) fn once(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn parse_grpc(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The finest unit that holds the value in eight digits, rounded down so that no hop gains time.
fn format_grpc(left: Duration) -> String {
    const LIMIT: u128 = 100_000_000;
    for (amount, unit) in [(left.as_nanos(), 'n'), (left.as_micros(), 'u'), (left.as_millis(), 'm')]
    {
        if amount < LIMIT {
            return format!("{amount}{unit}");
        }
    }
    match u128::from(left.as_secs()) {
        seconds if seconds < LIMIT => format!("{seconds}S"),
        seconds if seconds / 3600 < LIMIT => format!("{}H", seconds / 3600),
        _ => "99999999H".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_of_both_notations_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(read_timeout(&headers), None);
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("4999900u"));
        assert_eq!(read_timeout(&headers), Some(Duration::from_micros(4_999_900)));
        headers.insert(MICRO_TIMEOUT, HeaderValue::from_static("1000000"));
        assert_eq!(read_timeout(&headers), Some(Duration::from_millis(1)));
        headers.insert(MICRO_TIMEOUT, HeaderValue::from_static("soon"));
        assert_eq!(read_timeout(&headers), Some(Duration::from_micros(4_999_900)));
    }

    #[test]
    fn malformed_grpc_timeouts_are_ignored() {
        for value in ["", "u", "5", "123456789m", "-1m", "5x", "1.5S", " 5m"] {
            assert_eq!(parse_grpc(value.as_bytes()), None, "{value:?}");
        }
    }

    #[test]
    fn a_written_timeout_is_never_longer_than_the_time_left() {
        for nanos in [0, 1, 99_999_999, 100_000_001, 12_345_678_901_234, u64::MAX] {
            let left = Duration::from_nanos(nanos);
            let read = parse_grpc(format_grpc(left).as_bytes()).expect("own notation");
            assert!(
                read <= left && left - read <= left / 1_000 + Duration::from_nanos(1),
                "{left:?}"
            );
        }
        assert_eq!(format_grpc(Duration::MAX), "99999999H");
    }
}
