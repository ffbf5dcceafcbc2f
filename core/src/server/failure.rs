//! How a call fails by what the server does with it: its time is over, its handler broke.

use std::any::Any;

use crate::context::Context;
use crate::error::Error;

/// go-micro's error of a call that ran out of time.
pub(super) fn deadline_passed() -> Error {
    Error::deadline_exceeded("context deadline exceeded").with_id("go.micro.server")
}

/// What the caller is told of a handler's failure. What was not meant for callers is in the log alone, under the incident that
/// they are told.
pub(crate) fn told(error: Error, context: &Context) -> Error {
    let Some(incident) = error.incident() else { return error };
    tracing::error!(incident, endpoint = context.endpoint(), %error, "handler failed");
    Error::internal(format!("the handler failed: the log of the service says why, at {incident}"))
        .with_id("go.micro.server")
}

/// go-micro's error of a handler that panicked (wire reference 1.4), without the text of the panic.
pub(crate) fn panicked(panic: &(dyn Any + Send), context: &Context) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown cause".to_owned());
    let error = Error::unexpected(text);
    let incident = error.incident().unwrap_or_default();
    let endpoint = context.endpoint();
    tracing::error!(incident, endpoint, panic = error.detail(), "handler panicked");
    Error::internal(format!("panic recovered: the log of the service says more, at {incident}"))
        .with_id("go.micro.server")
}
