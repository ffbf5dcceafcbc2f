//! What is said to a server about streams and consumers: JSON, as its documents specify.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use micro::broker::Start;
use serde::Deserialize;
use serde_json::{Value, json};

/// What the server answers instead of what was asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) code: u16,
    #[serde(default)]
    pub(super) err_code: u32,
    #[serde(default)]
    pub(super) description: String,
}

/// Numbers that the server gives its refusals.
pub(super) const STREAM_NOT_FOUND: u32 = 10_059;
pub(super) const STREAM_EXISTS: u32 = 10_058;
pub(super) const CONSUMER_NOT_FOUND: u32 = 10_014;
pub(super) const CONSUMER_EXISTS: [u32; 3] = [10_013, 10_105, 10_148];
pub(super) const TOO_LARGE: u32 = 10_054;
pub(super) const OTHER_STREAM: u32 = 10_060;
pub(super) const FULL: [u32; 5] = [10_023, 10_028, 10_047, 10_077, 10_079];

/// The answer to a message that is to be stored.
#[derive(Debug, Deserialize)]
pub(super) struct Stored {
    #[serde(default)]
    pub(super) error: Option<Refusal>,
    #[serde(default)]
    pub(super) seq: Option<u64>,
}

pub(super) fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(i64::MAX as u64)
}

/// Where a consumer begins, as members of its configuration.
pub(super) fn begin(start: Start) -> Value {
    match start {
        Start::New => json!({ "deliver_policy": "new" }),
        Start::Sequence(sequence) => {
            json!({ "deliver_policy": "by_start_sequence", "opt_start_seq": sequence.max(1) })
        }
        Start::Time(time) => {
            json!({ "deliver_policy": "by_start_time", "opt_start_time": rfc3339(time) })
        }
        _ => json!({ "deliver_policy": "all" }),
    }
}

/// A time as `2024-02-29T12:34:56.123456789Z`; what was before 1970 is 1970.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, of_day) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years that begin in March have their leap day at the end.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let of_years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_years + of_years / 4 - of_years / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = of_years + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let nanos = since.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// What a delivery says of itself by the subject of its answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) attempt: u32,
    pub(super) sequence: u64,
    pub(super) published: SystemTime,
}

impl About {
    /// Reads `$JS.ACK.<stream>.<consumer>.<attempt>.<sequence>.<of consumer>.<nanoseconds>.<pending>`; newer servers put domain and
    /// account before the stream, and may add more behind.
    pub(super) fn read(reply: &str) -> Option<Self> {
        let parts: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let rest = parts.get(if parts.len() == 7 { 2.. } else { 4.. })?;
        let [attempt, sequence, _, nanos, ..] = rest else { return None };
        let since = Duration::from_nanos(nanos.parse().ok()?);
        Some(Self {
            attempt: attempt.parse().ok()?,
            sequence: sequence.parse().ok()?,
            published: UNIX_EPOCH.checked_add(since)?,
        })
    }
}

/// Whether all that goes to `subject`, which may have wildcards, is taken by a stream for `pattern`.
pub(super) fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_827_696, 1, "2000-02-29T12:34:56.000000001Z"),
            (1_709_251_199, 999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (1_709_251_200, 0, "2024-03-01T00:00:00.000000000Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59.000000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
            (1_735_689_599, 0, "2024-12-31T23:59:59.000000000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::new(seconds, nanos)), text);
        }
    }

    #[test]
    fn a_delivery_tells_attempt_sequence_and_time_in_the_old_form_and_the_new() {
        let about = About {
            attempt: 2,
            sequence: 41,
            published: UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
        };
        for reply in [
            "$JS.ACK.micro.workers.2.41.7.1700000000123456789.3",
            "$JS.ACK._.hash.micro.workers.2.41.7.1700000000123456789.3",
            "$JS.ACK.hub.hash.micro.workers.2.41.7.1700000000123456789.3.random",
        ] {
            assert_eq!(About::read(reply).as_ref(), Some(&about), "{reply}");
        }
        for reply in ["", "$JS.ACK.", "$JS.ACK.a.b.x.1.1.1.1", "_INBOX.a", "$JS.ACK.a.b.1.1"] {
            assert_eq!(About::read(reply), None, "{reply}");
        }
    }

    #[test]
    fn a_stream_takes_what_its_subjects_cover() {
        for (pattern, subject, does) in [
            ("micro.>", "micro.orders", true),
            ("micro.>", "micro.>", true),
            ("orders.*", "orders.>", false),
            ("orders.*", "orders.*", true),
            ("orders.*", "orders.a.b", false),
            ("orders", "orders", true),
            ("orders", "orders.a", false),
            ("orders.>", "orders", false),
        ] {
            assert_eq!(covers(pattern, subject), does, "{pattern} {subject}");
        }
    }
}
