//! What a plugin or a hook is asked to do ends in time, and in a result, whatever it does.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use crate::error::{Code, Error, Result};

/// Waits for `work` at most for `limit`; [`Duration::MAX`] is for ever.
///
/// # Errors
/// Those of `work`, `DEADLINE_EXCEEDED` when the time is up, `INTERNAL` for a panic, also one while the
/// work is dropped.
pub(crate) async fn bounded<T>(
    what: &str,
    limit: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let work = Contained { what, work: Some(Box::pin(work)) };
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Error::new(
            Code::DeadlineExceeded,
            format!("{what} did not end within {limit:?} and was given up"),
        ))
    })
}

/// Does `work`, which returns at once.
///
/// # Errors
/// `INTERNAL` for a panic.
pub(crate) fn caught<T>(what: &str, work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| Error::internal(format!("{what} panicked: {}", text_of(panic.as_ref()))))
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// A future no panic comes out of, neither when it is polled nor when it is dropped.
struct Contained<'a, F> {
    what: &'a str,
    /// Until it is done.
    work: Option<Pin<Box<F>>>,
}

impl<T, F: Future<Output = Result<T>>> Future for Contained<'_, F> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = &mut *self;
        let Some(work) = this.work.as_mut() else { return Poll::Pending };
        match caught(this.what, || work.as_mut().poll(cx)) {
            Ok(polled) => polled,
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}

impl<F> Drop for Contained<'_, F> {
    fn drop(&mut self) {
        let work = self.work.take();
        if let Err(error) = caught(self.what, || drop(work)) {
            tracing::error!(%error, "a plugin failed while it was let go");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_or_panics_ends_in_an_error() {
        assert_eq!(bounded("a check", LIMIT, async { Ok(7) }).await.unwrap(), 7);
        let hangs = bounded("a check", LIMIT, std::future::pending::<Result<()>>()).await;
        assert_eq!(hangs.unwrap_err().code(), Code::DeadlineExceeded);
        let panics = bounded::<()>("a check", LIMIT, async { panic!("no database") }).await;
        let error = panics.unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        assert!(error.detail().contains("a check panicked: no database"), "{error}");
        assert!(bounded("a check", Duration::MAX, async { Ok(()) }).await.is_ok());
    }

    /// Panics when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a bug of a destructor");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_when_it_is_given_up_was_still_late() {
        let work = async {
            let _bomb = Bomb;
            std::future::pending::<Result<()>>().await
        };
        let error = bounded("a check", LIMIT, work).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
    }

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        assert_eq!(caught("a name", || 7).unwrap(), 7);
        for (panics, text) in [
            ((|| panic!("as it is")) as fn() -> (), "as it is"),
            (|| panic!("with {}", "a value"), "with a value"),
            (|| std::panic::panic_any(7), "no text"),
        ] {
            let error = caught("a name", panics).unwrap_err();
            assert_eq!(error.code(), Code::Internal);
            assert_eq!(error.detail(), format!("a name panicked: {text}"));
        }
    }
}
