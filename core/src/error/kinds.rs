//! Errors by what is wrong: one constructor for each code.

use std::borrow::Cow;

use super::{Code, Error};

impl Error {
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

    /// No node can serve this now: `UNAVAILABLE`, 503.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unavailable, detail)
    }
}
