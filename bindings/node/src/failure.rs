//! Failures as objects of JavaScript, and the other way round. The classes are in `lib/errors.ts`.

use bytes::Bytes;
use micro_bridge::core::{self, Code, Error};
use micro_bridge::{Result, guard};
use napi::Either;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::number::period;

/// What went wrong.
#[napi(object)]
pub struct Failure {
    /// The bridge's number.
    pub status: i32,
    /// gRPC's number.
    pub code: i32,
    /// The component that failed.
    pub id: String,
    /// What is wrong, for people.
    pub detail: String,
    /// go-micro's number.
    pub http: i32,
    /// True when the far side said so.
    pub remote: bool,
    /// What kept a call from every handler.
    pub reason: String,
    /// Where a call failed.
    pub origin: Option<Origin>,
    /// Messages for programs to read.
    pub details: Vec<Detail>,
}

/// Where a call failed.
#[napi(object)]
pub struct Origin {
    /// The service that was called.
    pub service: String,
    /// The endpoint that was called.
    pub endpoint: String,
    /// The node that was tried last.
    pub node: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// A message attached to a failure.
#[napi(object)]
pub struct Detail {
    /// Its type.
    pub type_url: String,
    /// Its bytes.
    pub value: Buffer,
}

impl From<&micro_bridge::Failure> for Failure {
    fn from(failure: &micro_bridge::Failure) -> Self {
        let status = failure.status();
        Self {
            status: status.0,
            code: status.code().map_or(0, Code::grpc),
            id: failure.id().to_owned(),
            detail: failure.message().to_owned(),
            http: failure.http_code(),
            remote: failure.is_remote(),
            reason: failure.reason().to_owned(),
            origin: failure.origin().map(Origin::from),
            details: failure.attached().iter().map(Detail::from).collect(),
        }
    }
}

impl From<&core::Origin> for Origin {
    fn from(origin: &core::Origin) -> Self {
        Self {
            service: origin.service.clone(),
            endpoint: origin.endpoint.clone(),
            node: origin.node.clone(),
            attempts: origin.attempts,
        }
    }
}

impl From<&core::Detail> for Detail {
    fn from(detail: &core::Detail) -> Self {
        Self { type_url: detail.type_url.clone(), value: detail.value.to_vec().into() }
    }
}

impl From<Detail> for core::Detail {
    fn from(detail: Detail) -> Self {
        Self { type_url: detail.type_url, value: Bytes::copy_from_slice(&detail.value) }
    }
}

/// What a function of the bridge gives, or why it does not; a panic is a failure too.
pub(crate) fn told<T>(work: impl FnOnce() -> Result<T>) -> Either<T, Failure> {
    match guard(work) {
        Ok(done) => Either::A(done),
        Err(failure) => Either::B(Failure::from(&failure)),
    }
}

/// The same of a function that gives nothing.
pub(crate) fn done(work: impl FnOnce() -> Result<()>) -> Option<Failure> {
    guard(work).err().as_ref().map(Failure::from)
}

/// The error that a handler answers with. Where no code was named, it follows from go-micro's number.
pub(crate) fn error(code: i32, http: i32, id: String, detail: String) -> Error {
    let code = Code::from_grpc(code).unwrap_or(Code::Unknown);
    match (code, http) {
        (_, 0) => Error::new(code, detail).with_id(id),
        (Code::Unknown, http) => Error::from_http(id, detail, http),
        (code, http) => Error::new(code, detail).with_id(id).with_http_code(http),
    }
}

/// The error with what it says about another attempt: after so many milliseconds, infinity for never, no number for nothing.
pub(crate) fn again(error: Error, retry: f64) -> Error {
    if retry.is_nan() {
        error
    } else if retry == f64::INFINITY {
        error.without_retry()
    } else {
        error.with_retry_after(period(retry))
    }
}
