//! What an answer said around its messages, for callers that want to know.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use crate::metadata::Metadata;

/// Headers and trailers of an answer, as they come in: those of a stream, and of a call that failed.
/// Given to a call with `seen`; each attempt begins anew.
///
/// ```no_run
/// # use micro::client::Seen;
/// # use micro::{Client, Json, Streaming};
/// # async fn example(client: Client) -> micro::Result<()> {
/// let seen = Seen::new();
/// let mut numbers: Streaming<Json<u64>> =
///     client.server_stream("numbers", "Numbers.Count", Json(3)).seen(&seen).await?;
/// while numbers.message().await?.is_some() {}
/// println!("{:?}", seen.trailers().get("sum"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Parts>>);

#[derive(Default)]
struct Parts {
    headers: HeaderMap,
    trailers: HeaderMap,
}

impl Seen {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Headers of the answer; empty until its first message, and where the call failed before one:
    /// gRPC then has all in the trailers.
    pub fn headers(&self) -> Metadata {
        self.with(|parts| parts.headers.clone()).into()
    }

    /// Trailers of the answer; empty until its end.
    pub fn trailers(&self) -> Metadata {
        self.with(|parts| parts.trailers.clone()).into()
    }

    pub(super) fn begin(&self, headers: &HeaderMap) {
        self.with(|parts| *parts = Parts { headers: headers.clone(), ..Parts::default() });
    }

    pub(super) fn end(&self, trailers: &HeaderMap) {
        self.with(|parts| parts.trailers = trailers.clone());
    }

    fn with<R>(&self, change: impl FnOnce(&mut Parts) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen")
            .field("headers", &self.headers())
            .field("trailers", &self.trailers())
            .finish()
    }
}
