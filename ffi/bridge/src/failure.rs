//! What went wrong, on the border or behind it.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use micro::{Code, Detail, Error, Origin, Reason};

use crate::status::Status;

/// Result of the bridge's functions.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A failure: an error of the core, or one of the border itself.
#[derive(Debug, Clone)]
pub struct Failure(Inner);

#[derive(Debug, Clone)]
enum Inner {
    Core(Error),
    Border { status: Status, message: Cow<'static, str> },
}

impl Failure {
    /// A failure of the border.
    pub fn new(status: Status, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Inner::Border { status, message: message.into() })
    }

    /// An argument is wrong.
    pub fn argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::ARG, message)
    }

    /// The error that a host answers a call with.
    ///
    /// # Errors
    /// [`Status::ARG`] for a status that is none of gRPC's failures, 1 to 16.
    pub fn told(status: Status, detail: impl Into<String>) -> Result<Error> {
        let code = status.code().filter(|code| code.grpc() == status.0).ok_or_else(|| {
            Self::argument(format!("{} is no status of an answer: give 0 to 16", status.0))
        })?;
        Ok(Error::new(code, detail.into()))
    }

    /// What a host answers a call with: with [`Status::OK`] the reply, else the error the text of which is `payload`, UTF-8.
    ///
    /// # Errors
    /// As [`Failure::told`].
    pub fn answer(status: Status, payload: Bytes) -> Result<Result<Bytes, Error>> {
        if status.is_ok() {
            return Ok(Ok(payload));
        }
        Ok(Err(Self::told(status, String::from_utf8_lossy(&payload))?))
    }

    /// An id that names nothing any more.
    pub fn stale() -> Self {
        Self::new(Status::STALE, "this call, stream or watch is over")
    }

    /// The runtime or the queue is closed.
    pub fn closed(what: &str) -> Self {
        Self::new(Status::CLOSED, format!("the {what} is closed: make a new one"))
    }

    /// The failure as a number.
    pub fn status(&self) -> Status {
        match &self.0 {
            Inner::Core(error) => error.code().into(),
            Inner::Border { status, .. } => *status,
        }
    }

    /// What is wrong and what to do, for people.
    pub fn message(&self) -> &str {
        match &self.0 {
            Inner::Core(error) => error.detail(),
            Inner::Border { message, .. } => message,
        }
    }

    /// go-micro's `id`: the component that failed, for example `go.micro.client`; may be empty.
    pub fn id(&self) -> &str {
        self.core().map_or("micro", Error::id)
    }

    /// go-micro's HTTP-like number.
    pub fn http_code(&self) -> i32 {
        match &self.0 {
            Inner::Core(error) => error.http_code(),
            Inner::Border { status, .. } => status.code().map_or(0, Code::http),
        }
    }

    /// Where a call failed; `None` for what is no call's failure.
    pub fn origin(&self) -> Option<&Origin> {
        self.core()?.origin()
    }

    /// What kept a call from every handler, where the status alone does not tell, for example `no_nodes`; empty otherwise.
    pub fn reason(&self) -> &'static str {
        self.core().and_then(Error::reason).map_or("", Reason::name)
    }

    /// Messages for programs to read.
    pub fn attached(&self) -> &[Detail] {
        self.core().map_or(&[], Error::attached)
    }

    /// True when the far side said so.
    pub fn is_remote(&self) -> bool {
        self.core().is_some_and(Error::is_remote)
    }

    /// The core's error, if it is one.
    pub fn core(&self) -> Option<&Error> {
        match &self.0 {
            Inner::Core(error) => Some(error),
            Inner::Border { .. } => None,
        }
    }

    /// The failure as the core knows it.
    pub fn into_core(self) -> Error {
        match self.0 {
            Inner::Core(error) => error,
            // Whatever panicked did not speak to callers.
            Inner::Border { status: Status::PANIC, message } => {
                Error::unexpected(message).with_id("micro")
            }
            Inner::Border { status, message } => {
                Error::new(status.code().unwrap_or(Code::Unknown), message).with_id("micro")
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(Inner::Core(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Core(error) => error.fmt(f),
            Inner::Border { status, message } => write!(f, "{}: {message}", status.name()),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.core().and_then(std::error::Error::source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_reply_or_one_of_grpcs_failures() {
        let answer = |number| Failure::answer(Status(number), Bytes::from_static(b"text"));
        assert_eq!(answer(0).expect("a status").expect("a reply"), "text");
        let error = answer(5).expect("a status").expect_err("no reply");
        assert_eq!((error.code(), error.detail()), (Code::NotFound, "text"));
        for number in [-1, 17, Status::STALE.0] {
            assert_eq!(answer(number).expect_err("no status").status(), Status::ARG);
        }
    }
}
