//! Numbers of JavaScript, which are doubles: ids and tokens are exact in them, times are milliseconds.

use std::time::Duration;

use micro_bridge::{Id, NO_TIMEOUT};

/// Nanoseconds in a millisecond.
const MILLISECOND: f64 = 1e6;

/// The id a number stands for; whatever it is, using it is safe.
pub(crate) fn id(number: f64) -> Id {
    Id::from_raw(whole(number))
}

/// An id as a number: it has 53 bits.
#[allow(clippy::cast_precision_loss, reason = "ids have 53 bits")]
pub(crate) fn of_id(id: Id) -> f64 {
    id.to_raw() as f64
}

/// A whole number; what is none is the nearest that can be said.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}

/// A count or a size as a number.
#[allow(clippy::cast_precision_loss, reason = "far below 53 bits")]
pub(crate) fn of_size(size: usize) -> f64 {
    size as f64
}

/// A token as a number: it was one before.
#[allow(clippy::cast_precision_loss, reason = "it came from a number")]
pub(crate) fn of_token(token: u64) -> f64 {
    token as f64
}

/// Milliseconds as the nanoseconds of a request: 0 is the client's own timeout, infinity none.
pub(crate) fn nanoseconds(ms: f64) -> u64 {
    if ms == f64::INFINITY { NO_TIMEOUT } else { whole(ms * MILLISECOND).min(NO_TIMEOUT - 1) }
}

/// Nanoseconds as milliseconds: none at all is infinity.
#[allow(clippy::cast_precision_loss, reason = "a microsecond in a hundred days is nothing")]
pub(crate) fn milliseconds(ns: u64) -> f64 {
    if ns == NO_TIMEOUT { f64::INFINITY } else { ns as f64 / MILLISECOND }
}

/// A period of milliseconds.
pub(crate) fn period(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms.max(0.0) / 1000.0).unwrap_or(Duration::MAX)
}
