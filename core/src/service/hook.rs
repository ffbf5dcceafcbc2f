//! What a program does at moments of a service's life.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::server::BoxFuture;

/// Something to do at a moment of the lifecycle.
#[derive(Clone)]
pub(super) struct Hook(Arc<dyn Fn() -> BoxFuture<Result<()>> + Send + Sync>);

impl Hook {
    pub(super) fn new<F, R>(hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(hook())))
    }

    /// Its work, which begins when it is polled: whatever it does is under the caller's guard.
    pub(super) async fn run(&self) -> Result<()> {
        (self.0)().await
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
