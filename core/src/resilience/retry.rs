//! Whether a failed call is tried again.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::context::Context;
use crate::error::{Code, Error, Reach, Result};
use crate::metadata::Metadata;
use crate::middleware::BoxFuture;

/// What a policy knows about a failed attempt.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// How it failed.
    pub error: &'a Error,
    /// Index of the attempt that failed, from 0.
    pub attempt: u32,
    /// Repeating the call is harmless: the endpoint says so, or the caller does.
    pub idempotent: bool,
}

/// A failed attempt, and the call it was made for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// Service that is called.
    pub service: String,
    /// Endpoint that is called.
    pub endpoint: String,
    /// Headers that the call was given.
    pub metadata: Metadata,
    /// The one message, in the codec of the call; `None` where the caller sends a stream, or is a stub of tonic.
    pub message: Option<Bytes>,
    /// The inbound call that the call is part of, if it is part of one.
    pub context: Option<Context>,
    /// How the attempt failed.
    pub error: Error,
    /// Index of the attempt that failed, from 0.
    pub attempt: u32,
    /// Repeating the call is harmless: the endpoint says so, or the caller does.
    pub idempotent: bool,
}

type Decide = dyn Fn(Failure<'_>) -> bool + Send + Sync;
type Ask = dyn Fn(FailedAttempt) -> BoxFuture<Result<bool>> + Send + Sync;

/// A policy for failed attempts. However it decides, the number of attempts, the deadline and (but
/// for [`Retry::GoMicro`]) the retry budget of 10 % bound it.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Retry {
    /// Tries again when the request provably never reached a handler, and when the endpoint is
    /// idempotent and the failure may pass (`UNAVAILABLE`, `ABORTED`, `RESOURCE_EXHAUSTED`,
    /// an `INTERNAL` of the connection).
    #[default]
    Safe,
    /// go-micro v2's `RetryOnError`: on codes 408 and 500, whatever the endpoint.
    GoMicro,
    /// Tries again whatever the failure, and whatever the endpoint: go-micro's `RetryAlways`, within the budget.
    Always,
    /// Never tries again.
    Never,
    /// Whatever the function says.
    Custom(Arc<Decide>),
    /// Whatever the function says, which may wait, and may replace the error.
    Ask(Arc<Ask>),
}

impl Retry {
    /// A policy of one's own.
    pub fn custom(decide: impl Fn(Failure<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::Custom(Arc::new(decide))
    }

    /// A policy that sees the whole call, and may take its time: until the deadline of the call. It is asked after each
    /// failed attempt, the last one too; an error of its own is what the caller gets, and ends the call.
    ///
    /// ```
    /// use micro::resilience::Retry;
    ///
    /// let patient = Retry::ask(|failed| async move {
    ///     match failed.endpoint.as_str() {
    ///         "Shop.Buy" => Err(micro::Error::unavailable("ask the shop whether it was bought")),
    ///         _ => Ok(failed.idempotent),
    ///     }
    /// });
    /// ```
    pub fn ask<F, R>(ask: F) -> Self
    where
        F: Fn(FailedAttempt) -> R + Send + Sync + 'static,
        R: Future<Output = Result<bool>> + Send + 'static,
    {
        Self::Ask(Arc::new(move |failed| Box::pin(ask(failed))))
    }

    pub(crate) fn allows(&self, failure: Failure<'_>) -> bool {
        match self {
            // One that is asked has answered by then.
            Self::Never | Self::Ask(_) => false,
            Self::Always => true,
            Self::Custom(decide) => decide(failure),
            Self::GoMicro => matches!(go_micro_code(failure.error), 408 | 500),
            Self::Safe => {
                failure.error.reach() == Reach::Never
                    || (failure.idempotent && passing(failure.error))
            }
        }
    }

    /// True when retries count against the budget.
    pub(crate) fn is_budgeted(&self) -> bool {
        !matches!(self, Self::GoMicro)
    }
}

/// A failure that another node, or another moment, may not have.
fn passing(error: &Error) -> bool {
    match error.code() {
        Code::Unavailable | Code::Aborted | Code::ResourceExhausted => true,
        Code::Internal => !error.is_remote(),
        _ => false,
    }
}

/// The number go-micro's client would see: everything that is not a micro error is 500 there.
fn go_micro_code(error: &Error) -> i32 {
    let own_deadline = !error.is_remote() && error.code() == Code::DeadlineExceeded;
    if error.is_micro() || own_deadline { error.http_code() } else { 500 }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safe => "Safe",
            Self::GoMicro => "GoMicro",
            Self::Always => "Always",
            Self::Never => "Never",
            Self::Custom(_) => "Custom",
            Self::Ask(_) => "Ask",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe(error: &Error, idempotent: bool) -> bool {
        Retry::Safe.allows(Failure { error, attempt: 0, idempotent })
    }

    #[test]
    fn safe_repeats_what_never_reached_a_handler() {
        let refused = Error::unavailable("connection refused").with_reach(Reach::Never);
        assert!(safe(&refused, false));
        assert!(!safe(&Error::unavailable("connection reset"), false));
    }

    #[test]
    fn safe_repeats_idempotent_calls_only_for_failures_that_may_pass() {
        assert!(safe(&Error::unavailable("connection reset"), true));
        assert!(!safe(&Error::internal("bug").told_as_micro(), true));
        assert!(!safe(&Error::not_found("user 7"), true));
        assert!(!safe(&Error::deadline_exceeded("too slow"), true));
    }

    #[test]
    fn go_micro_repeats_408_and_500_only() {
        let allows = |http| {
            let error = Error::from_http("a", "b", http).told_as_micro();
            Retry::GoMicro.allows(Failure { error: &error, attempt: 0, idempotent: false })
        };
        assert!(allows(408) && allows(500));
        assert!(!allows(404) && !allows(503) && !allows(0));
    }

    #[test]
    fn go_micro_repeats_whatever_is_no_micro_error() {
        for error in [
            Error::unavailable("down").told_as_status(),
            Error::not_found("a bare status").told_as_status(),
            Error::unavailable("connection refused"),
        ] {
            let failure = Failure { error: &error, attempt: 0, idempotent: false };
            assert!(Retry::GoMicro.allows(failure), "{error}");
        }
    }
}
