//! What a program or a registry is asked to do, with an end in any case.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use crate::error::{Code, Error, Result};
use crate::plugin::panic_text;

/// Waits for `work` at most for `limit`. A panic in it is an error like any other: the task that waits has
/// more to do.
pub(super) async fn bounded<T>(
    what: &str,
    limit: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            Err(Error::internal(format!("{what} panicked: {}", panic_text(panic.as_ref()))))
        }
        Err(_) => Err(Error::new(
            Code::DeadlineExceeded,
            format!("{what} did not end within {limit:?} and was given up"),
        )),
    }
}

/// True for refusals that waiting does not change: what was asked for is wrong, or not allowed.
pub(super) fn is_permanent(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::InvalidArgument
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_or_panics_ends_in_an_error() {
        let limit = Duration::from_secs(10);
        assert_eq!(bounded("a check", limit, async { Ok(7) }).await.unwrap(), 7);
        let hangs = bounded("a check", limit, std::future::pending::<Result<()>>()).await;
        assert_eq!(hangs.unwrap_err().code(), Code::DeadlineExceeded);
        let panics = bounded::<()>("a check", limit, async { panic!("no database") }).await;
        let error = panics.unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        assert!(error.detail().contains("a check panicked: no database"), "{error}");
        assert!(bounded("a check", Duration::MAX, async { Ok(()) }).await.is_ok());
    }
}
