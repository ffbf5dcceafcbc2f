//! What a failed call says: one type with a [`Code`], go-micro's four fields, and where it came from.
//!
//! go-micro names an error by an HTTP-like number, gRPC by one of sixteen codes. [`Error`] carries
//! both, so that a Go caller and a gRPC caller each see the error they know. Neither number is
//! invented: given one, the other follows from the table of go-micro's `server/grpc/error.go`.

mod code;
mod detail;
mod json;
mod kinds;
mod origin;
mod reason;
mod shown;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

pub use code::Code;
pub use detail::Detail;
pub use origin::{Origin, Reach};
pub use reason::Reason;

use crate::metadata::Metadata;

/// Result of a fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, as data: what went wrong, on which side, and whether it may be tried again.
///
/// ```
/// use micro::{Code, Error};
///
/// let error = Error::not_found("user 7 not found").with_id("users");
/// assert_eq!(error.code(), Code::NotFound);
/// assert_eq!(error.http_code(), 404);
/// assert_eq!(
///     error.to_json(),
///     r#"{"id":"users","code":404,"detail":"user 7 not found","status":"Not Found"}"#,
/// );
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    id: Cow<'static, str>,
    http: i32,
    detail: Cow<'static, str>,
    status: Cow<'static, str>,
    reach: Reach,
    reason: Option<Reason>,
    /// Set where the text was not meant for callers: they are told this instead.
    incident: Option<Box<str>>,
    origin: Option<Origin>,
    retry_after: Option<Duration>,
    /// Trying again was forbidden.
    is_final: bool,
    /// Nothing of the request left this side.
    is_unsent: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    told_by: ToldBy,
    details: Vec<Detail>,
    answer: Option<Arc<AnswerMetadata>>,
}

/// Metadata of the answer that carried the failure, on a client.
#[derive(Debug, Default)]
struct AnswerMetadata {
    headers: Metadata,
    trailers: Metadata,
}

/// Who put an error into words, which decides what go-micro's number is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ToldBy {
    /// This side.
    Us,
    /// The far side, by a gRPC status alone: the number is our translation.
    Status,
    /// The far side, as a micro error with a number of its own.
    Micro,
}

impl Error {
    /// An error with gRPC's `code`; go-micro's number and status text follow from it.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let http = code.http();
        Self(Box::new(Inner {
            code,
            id: Cow::Borrowed(""),
            http,
            detail: detail.into(),
            status: Cow::Borrowed(status_text(http)),
            reach: Reach::Maybe,
            reason: None,
            incident: None,
            origin: None,
            retry_after: None,
            is_final: false,
            is_unsent: false,
            source: None,
            told_by: ToldBy::Us,
            details: Vec::new(),
            answer: None,
        }))
    }

    /// go-micro's `errors.New(id, detail, code)`: `code` is HTTP-like and gRPC's follows from it.
    pub fn from_http(
        id: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
        code: i32,
    ) -> Self {
        let mut error = Self::new(Code::from_http(code), detail).with_id(id);
        error.0.http = code;
        error.0.status = Cow::Borrowed(status_text(code));
        error
    }

    /// A failure that was not worded for callers, such as an exception or the error of a library:
    /// `INTERNAL`, 500. The text stays on this side: the caller of a handler that fails with it is told the
    /// [incident](Self::incident) alone, and the server's log has both.
    ///
    /// ```
    /// use micro::{Error, Json, Result};
    ///
    /// fn parse(text: &str) -> Result<Json<i64>> {
    ///     text.parse().map(Json).map_err(|error| Error::unexpected(error))
    /// }
    /// assert!(parse("x").unwrap_err().incident().is_some());
    /// ```
    pub fn unexpected(cause: impl fmt::Display) -> Self {
        Self::new(Code::Internal, cause.to_string()).kept_from_callers()
    }

    /// Keeps the text from callers.
    pub(crate) fn kept_from_callers(mut self) -> Self {
        self.0.incident = Some(format!("{:016x}", fastrand::u64(..)).into());
        self
    }

    /// Names the component that failed, go-micro's `id`, for example `go.micro.client`.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Cow<'static, str>>) -> Self {
        self.0.id = id.into();
        self
    }

    /// Gives the error a number of go-micro's own, where another than the one that follows from its code says more.
    #[must_use]
    pub fn with_http_code(mut self, number: i32) -> Self {
        self.0.http = number;
        self.0.status = Cow::Borrowed(status_text(number));
        self
    }

    /// Keeps the cause, for [`std::error::Error::source`].
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Says how far the attempt got.
    #[must_use]
    pub fn with_reach(mut self, reach: Reach) -> Self {
        self.0.reach = reach;
        self
    }

    /// Asks the caller to wait this long before it tries again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Asks the caller not to try again at all: no other moment and no other node would help.
    #[must_use]
    pub fn without_retry(mut self) -> Self {
        self.0.is_final = true;
        self
    }

    /// Says that nothing of the request left this side, so that no node was bothered.
    pub(crate) fn unsent(mut self) -> Self {
        self.0.reach = Reach::Never;
        self.0.is_unsent = true;
        self
    }

    pub(crate) fn is_unsent(&self) -> bool {
        self.0.is_unsent
    }

    /// True when the side that failed asked not to be tried again.
    pub fn forbids_retry(&self) -> bool {
        self.0.is_final
    }

    /// Keeps the metadata of the answer that carried the failure.
    pub(crate) fn with_answer(mut self, headers: HeaderMap, trailers: HeaderMap) -> Self {
        let answer = AnswerMetadata { headers: headers.into(), trailers: trailers.into() };
        self.0.answer = Some(Arc::new(answer));
        self
    }

    /// Headers of the answer that carried the failure, on a client; `None` for a failure that came in no answer. An answer
    /// that is nothing but a status has all its metadata in the [trailers](Self::trailers).
    pub fn headers(&self) -> Option<&Metadata> {
        self.0.answer.as_ref().map(|answer| &answer.headers)
    }

    /// Trailers of the answer that carried the failure, on a client; `None` for a failure that came in no answer.
    pub fn trailers(&self) -> Option<&Metadata> {
        self.0.answer.as_ref().map(|answer| &answer.trailers)
    }

    /// Adds a message for programs to read, after those that are there.
    #[must_use]
    pub fn with_attached(mut self, detail: Detail) -> Self {
        self.0.details.push(detail);
        self
    }

    /// Says what kept the call from every handler.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.0.reason = Some(reason);
        self
    }

    pub(crate) fn with_origin(mut self, origin: Origin) -> Self {
        self.0.origin = Some(origin);
        self
    }

    pub(crate) fn with_code(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    pub(crate) fn with_status(mut self, status: impl Into<Cow<'static, str>>) -> Self {
        self.0.status = status.into();
        self
    }

    /// The far side said so by a gRPC status.
    pub(crate) fn told_as_status(mut self) -> Self {
        self.0.told_by = ToldBy::Status;
        self
    }

    /// The far side said so by a micro error.
    pub(crate) fn told_as_micro(mut self) -> Self {
        self.0.told_by = ToldBy::Micro;
        self
    }

    /// gRPC's code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// go-micro's HTTP-like number, for example 404. 0 only when a peer sent none.
    pub fn http_code(&self) -> i32 {
        self.0.http
    }

    /// Component that failed, go-micro's `id`; empty when it was not named.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// What went wrong, for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// HTTP reason phrase of the number, for example `Not Found`; empty when it has none.
    pub fn status(&self) -> &str {
        &self.0.status
    }

    /// How far the attempt got.
    pub fn reach(&self) -> Reach {
        self.0.reach
    }

    /// What kept a call of this side from every handler, where the code alone does not tell; `None` for all that the far
    /// side said.
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason
    }

    /// What a caller is told instead of a text that was not meant for callers, and the server's log beside it: 16 hexadecimal
    /// digits; `None` for every error that was worded for callers.
    pub fn incident(&self) -> Option<&str> {
        self.0.incident.as_deref()
    }

    /// Where the call failed; `None` for errors that no client call returned.
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }

    /// How long the far side asked to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Messages for programs to read, in the order they were attached: gRPC's error details.
    pub fn attached(&self) -> &[Detail] {
        &self.0.details
    }

    /// True when the far side answered with this error; false when it arose on this side.
    pub fn is_remote(&self) -> bool {
        self.0.told_by != ToldBy::Us
    }

    /// True when the far side answered with a micro error, whose number is its own.
    pub(crate) fn is_micro(&self) -> bool {
        self.0.told_by == ToldBy::Micro
    }
}

/// Go's `http.StatusText` for the numbers this framework produces or meets; empty otherwise.
fn status_text(http: i32) -> &'static str {
    match u16::try_from(http).ok().and_then(|n| http::StatusCode::from_u16(n).ok()) {
        Some(status) => status.canonical_reason().unwrap_or(""),
        None => "",
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// go-micro's `errors.Equal` for two framework errors: equal when their numbers are ([`Error::http_code`]), whatever else they say.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        self.0.http == other.0.http
    }
}

/// On this side it is what the system said. A handler that fails with it tells its caller no more than that it failed, as with
/// [`Error::unexpected`]: file names are not the caller's business, and a missing file says nothing of what was asked for.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            std::io::ErrorKind::PermissionDenied => Code::PermissionDenied,
            std::io::ErrorKind::AlreadyExists => Code::AlreadyExists,
            std::io::ErrorKind::TimedOut => Code::DeadlineExceeded,
            std::io::ErrorKind::InvalidInput => Code::InvalidArgument,
            _ => Code::Unavailable,
        };
        Self::new(code, error.to_string()).with_source(error).kept_from_callers()
    }
}

#[cfg(test)]
mod tests;
