//! What a failed call says: one type with a [`Code`], go-micro's four fields, and where it came from.
//!
//! go-micro names an error by an HTTP-like number, gRPC by one of sixteen codes. [`Error`] carries
//! both, so that a Go caller and a gRPC caller each see the error they know. Neither number is
//! invented: given one, the other follows from the table of go-micro's `server/grpc/error.go`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// Result of a fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The sixteen failure codes of gRPC, with their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// The caller gave up.
    Cancelled = 1,
    /// Something failed and nobody said what.
    Unknown = 2,
    /// The request is wrong, whatever the state of the service.
    InvalidArgument = 3,
    /// The deadline passed.
    DeadlineExceeded = 4,
    /// The thing asked for, or the service itself, does not exist.
    NotFound = 5,
    /// The thing to create exists.
    AlreadyExists = 6,
    /// The account may not do this.
    PermissionDenied = 7,
    /// A limit was reached: quota, concurrency or size.
    ResourceExhausted = 8,
    /// The state of the service forbids the operation.
    FailedPrecondition = 9,
    /// A conflict with a concurrent operation; try the whole transaction again.
    Aborted = 10,
    /// Past the valid range.
    OutOfRange = 11,
    /// The endpoint does not exist or does not speak this content type.
    Unimplemented = 12,
    /// A bug or a broken invariant on the far side.
    Internal = 13,
    /// Nobody can serve this now; trying again may help.
    Unavailable = 14,
    /// Data was lost or damaged for good.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

impl Code {
    /// The code with gRPC's number `value`; `None` for 0 (`OK`) and for numbers gRPC does not know.
    pub fn from_grpc(value: i32) -> Option<Self> {
        Some(match value {
            1 => Self::Cancelled,
            2 => Self::Unknown,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            _ => return None,
        })
    }

    /// gRPC's number, 1–16.
    pub fn grpc(self) -> i32 {
        self as i32
    }

    /// gRPC's spelling, for example `DEADLINE_EXCEEDED`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// The code of go-micro's HTTP-like number, per `server/grpc/error.go:10-42`; numbers outside
    /// that table are [`Code::Unknown`], as they are there.
    pub fn from_http(status: i32) -> Self {
        match status {
            400 => Self::InvalidArgument,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            408 => Self::DeadlineExceeded,
            409 => Self::AlreadyExists,
            412 => Self::FailedPrecondition,
            500 => Self::Internal,
            501 => Self::Unimplemented,
            503 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// go-micro's HTTP-like number for this code: the inverse of [`Code::from_http`] where that has
    /// one, the field's usual number otherwise.
    pub fn http(self) -> i32 {
        match self {
            Self::Cancelled => 499,
            Self::InvalidArgument | Self::OutOfRange => 400,
            Self::DeadlineExceeded => 408,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::PermissionDenied => 403,
            Self::Unauthenticated => 401,
            Self::ResourceExhausted => 429,
            Self::FailedPrecondition => 412,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a failed attempt got, which decides whether repeating it is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// The request provably never reached a handler.
    Never,
    /// The request may have been executed.
    #[default]
    Maybe,
}

/// Where a call failed: filled in by the client for every error that [`crate::Client`] returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Service the caller asked for.
    pub service: String,
    /// Endpoint the caller asked for, for example `Greeter.Hello`.
    pub endpoint: String,
    /// Id and address of the node of the last attempt; empty when none was chosen.
    pub node: String,
    /// Attempts made; 0 when the call failed before the first.
    pub attempts: u32,
}

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
    origin: Option<Origin>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    told_by: ToldBy,
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

/// The wire form of go-micro's error: JSON in the order `id, code, detail, status`, zero values
/// omitted (`errors/errors.pb.go`).
#[derive(Serialize)]
struct Json<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    code: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: &'a str,
}

fn is_zero(value: &i32) -> bool {
    *value == 0
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
            origin: None,
            retry_after: None,
            source: None,
            told_by: ToldBy::Us,
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

    /// The request is wrong: `INVALID_ARGUMENT`, 400.
    pub fn invalid_argument(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidArgument, detail)
    }

    /// The caller is not known: `UNAUTHENTICATED`, 401.
    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unauthenticated, detail)
    }

    /// The account may not do this: `PERMISSION_DENIED`, 403.
    pub fn permission_denied(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::PermissionDenied, detail)
    }

    /// It does not exist: `NOT_FOUND`, 404.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// The deadline passed: `DEADLINE_EXCEEDED`, 408.
    pub fn deadline_exceeded(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::DeadlineExceeded, detail)
    }

    /// The caller gave up: `CANCELLED`, 499.
    pub fn cancelled(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Cancelled, detail)
    }

    /// It exists already: `ALREADY_EXISTS`, 409.
    pub fn already_exists(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::AlreadyExists, detail)
    }

    /// A limit was reached: `RESOURCE_EXHAUSTED`, 429.
    pub fn resource_exhausted(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::ResourceExhausted, detail)
    }

    /// The state forbids it: `FAILED_PRECONDITION`, 412.
    pub fn failed_precondition(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::FailedPrecondition, detail)
    }

    /// No such endpoint or content type: `UNIMPLEMENTED`, 501.
    pub fn unimplemented(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unimplemented, detail)
    }

    /// A bug on this side: `INTERNAL`, 500.
    pub fn internal(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Internal, detail)
    }

    /// Nobody can serve this now: `UNAVAILABLE`, 503.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unavailable, detail)
    }

    /// Names the component that failed, go-micro's `id`, for example `go.micro.client`.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Cow<'static, str>>) -> Self {
        self.0.id = id.into();
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

    /// Component that failed, go-micro's `id`; empty when nobody named it.
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

    /// Where the call failed; `None` for errors that no client call returned.
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }

    /// How long the far side asked to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// True when the far side answered with this error; false when it arose on this side.
    pub fn is_remote(&self) -> bool {
        self.0.told_by != ToldBy::Us
    }

    /// True when the far side answered with a micro error, whose number is its own.
    pub(crate) fn is_micro(&self) -> bool {
        self.0.told_by == ToldBy::Micro
    }

    /// go-micro's text of the error: its JSON, zero values omitted, HTML characters escaped.
    pub fn to_json(&self) -> String {
        let json =
            Json { id: self.id(), code: self.0.http, detail: self.detail(), status: self.status() };
        go_escape(&serde_json::to_string(&json).unwrap_or_default())
    }

    /// go-micro's `errors.Parse`: reads the JSON form; any other text becomes the detail of an
    /// error whose number is 0 and whose code is [`Code::Unknown`].
    pub fn parse(text: &str) -> Self {
        let mut error = Self::new(Code::Unknown, "");
        error.0.http = 0;
        error.0.status = Cow::Borrowed("");
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::Null) => {}
            Ok(serde_json::Value::Object(fields)) => {
                let mut whole = true;
                for (key, value) in fields {
                    let read = match key.to_ascii_lowercase().as_str() {
                        "id" => read_text(&value, &mut error.0.id),
                        "detail" => read_text(&value, &mut error.0.detail),
                        "status" => read_text(&value, &mut error.0.status),
                        "code" => match value {
                            serde_json::Value::Null => true,
                            other => match other.as_i64().and_then(|n| i32::try_from(n).ok()) {
                                Some(number) => {
                                    error.0.http = number;
                                    error.0.code = Code::from_http(number);
                                    true
                                }
                                None => false,
                            },
                        },
                        _ => true,
                    };
                    whole &= read;
                }
                if !whole {
                    error.0.detail = Cow::Owned(text.to_owned());
                }
            }
            _ => error.0.detail = Cow::Owned(text.to_owned()),
        }
        error
    }
}

fn read_text(value: &serde_json::Value, field: &mut Cow<'static, str>) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::String(text) => {
            *field = Cow::Owned(text.clone());
            true
        }
        _ => false,
    }
}

/// Go's `encoding/json` escapes these five inside strings; outside strings JSON has none of them.
pub(crate) fn go_escape(json: &str) -> String {
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        match character {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}

/// Go's `http.StatusText` for the numbers this framework produces or meets; empty otherwise.
fn status_text(http: i32) -> &'static str {
    match u16::try_from(http).ok().and_then(|n| http::StatusCode::from_u16(n).ok()) {
        Some(status) => status.canonical_reason().unwrap_or(""),
        None => "",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.detail)?;
        if !self.0.id.is_empty() {
            write!(f, " [{}]", self.0.id)?;
        }
        if let Some(origin) = &self.0.origin {
            write!(f, " (calling {} {}", origin.service, origin.endpoint)?;
            if !origin.node.is_empty() {
                write!(f, " on {}", origin.node)?;
            }
            if origin.attempts != 1 {
                write!(f, ", {} attempts", origin.attempts)?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("code", &self.0.code).field("id", &self.0.id).field("http", &self.0.http);
        out.field("detail", &self.0.detail).field("reach", &self.0.reach);
        if let Some(origin) = &self.0.origin {
            out.field("origin", origin);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// go-micro's `errors.Equal` for two framework errors: equal when their numbers are.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        self.0.code == other.0.code && self.0.http == other.0.http
    }
}

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
        Self::new(code, error.to_string()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_go_json_in_order_without_zero_fields() {
        let error = Error::from_http("go.micro.srv.greeter", "user 7 not found", 404);
        assert_eq!(
            error.to_json(),
            r#"{"id":"go.micro.srv.greeter","code":404,"detail":"user 7 not found","status":"Not Found"}"#
        );
        assert_eq!(
            Error::from_http("a", "<b>&", 500).to_json(),
            r#"{"id":"a","code":500,"detail":"\u003cb\u003e\u0026","status":"Internal Server Error"}"#
        );
        assert_eq!(Error::parse(r#"{"id":"x"}"#).to_json(), r#"{"id":"x"}"#);
        assert_eq!(
            Error::from_http("a", "b", 499).to_json(),
            r#"{"id":"a","code":499,"detail":"b"}"#
        );
        assert_eq!(Error::from_http("a", "b", 408).status(), "Request Timeout");
    }

    #[test]
    fn parse_reads_any_case_and_keeps_foreign_text_as_detail() {
        let error = Error::parse(r#"{"ID":"my.id","Code":404,"DETAIL":"nope","other":[1]}"#);
        assert_eq!((error.id(), error.http_code(), error.detail()), ("my.id", 404, "nope"));
        assert_eq!(error.code(), Code::NotFound);
        let plain = Error::parse("no such 100% thing");
        assert_eq!((plain.http_code(), plain.detail()), (0, "no such 100% thing"));
        let wrong = Error::parse(r#"{"id":"a","code":"x"}"#);
        assert_eq!((wrong.id(), wrong.detail()), ("a", r#"{"id":"a","code":"x"}"#));
        assert_eq!(Error::parse("null").http_code(), 0);
        assert_eq!(Error::parse("null").detail(), "");
    }

    #[test]
    fn every_code_survives_the_number_of_its_own() {
        for number in 1..=16 {
            let code = Code::from_grpc(number);
            assert_eq!(code.map(Code::grpc), Some(number));
        }
        assert_eq!(Code::from_grpc(0), None);
        assert_eq!(Code::from_grpc(17), None);
        for http in [400, 401, 403, 404, 408, 409, 412, 500, 501, 503] {
            assert_eq!(Code::from_http(http).http(), http);
        }
    }

    #[test]
    fn message_names_endpoint_node_and_attempts() {
        let error = Error::unavailable("connection refused").with_origin(Origin {
            service: "greeter".into(),
            endpoint: "Greeter.Hello".into(),
            node: "greeter-1 at 127.0.0.1:1".into(),
            attempts: 3,
        });
        assert_eq!(
            error.to_string(),
            "UNAVAILABLE: connection refused (calling greeter Greeter.Hello on greeter-1 at 127.0.0.1:1, 3 attempts)"
        );
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_parses_to_some_error(text in "\\PC{0,80}") {
            let _ = Error::parse(&text);
        }

        #[test]
        fn what_was_written_is_read_back(
            id in "\\PC{0,20}", detail in "\\PC{0,60}", code in 1i32..600,
        ) {
            let error = Error::from_http(id.clone(), detail.clone(), code);
            let read = Error::parse(&error.to_json());
            proptest::prop_assert_eq!((read.id(), read.detail(), read.http_code()), (&*id, &*detail, code));
            proptest::prop_assert_eq!(read.status(), error.status());
        }
    }
}
