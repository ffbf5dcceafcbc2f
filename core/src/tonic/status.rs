//! tonic's status and our error: the same code, text and details, whichever says it.

use std::sync::Arc;

use ::tonic::Status;
use http::HeaderMap;

use crate::client::framed::in_plain_grpc;
use crate::error::{Code, Error};
use crate::transport::{foreign_details, is_status, read_status, write_status};

/// Any error, as tower has them.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What tonic says with `error`. Its source is the error.
pub(super) fn to_status(error: Error) -> Status {
    let mut headers = HeaderMap::new();
    write_status(&mut headers, Some(&error), false);
    let status = Status::from_header_map(&headers);
    let mut status = status.unwrap_or_else(|| Status::unknown(error.detail().to_owned()));
    status.set_source(Arc::new(error));
    status
}

/// What `error`, which came from a service of tonic, says.
pub(super) fn to_error(error: BoxError) -> Error {
    let status = match error.downcast::<Error>() {
        Ok(error) => return *error,
        Err(error) => Status::from_error(error),
    };
    let mut headers = HeaderMap::new();
    match status.add_header(&mut headers) {
        Ok(()) => from_trailers(&mut headers),
        Err(unwritable) => Some(Error::internal(unwritable.message().to_owned())),
    }
    .unwrap_or_else(|| Error::new(Code::Unknown, "a service of tonic failed with OK"))
}

/// How a call ended by its `trailers`, which keep only the metadata.
pub(super) fn from_trailers(trailers: &mut HeaderMap) -> Option<Error> {
    let error = read_status(trailers).map(|error| match foreign_details(trailers) {
        Some(details) => error.with_attached(details),
        None => error,
    });
    let names: Vec<_> = trailers.keys().filter(|name| is_status(name)).cloned().collect();
    for name in names {
        trailers.remove(name);
    }
    error
}

/// How a call of ours failed, as tonic's own channel would say it, with the metadata of the answer. Its source is the error.
pub(super) fn of_call(error: Error) -> Status {
    let answered = error.is_remote().then(|| error.trailers()).flatten();
    let Some(trailers) = answered else { return to_status(error) };
    let mut metadata = error.headers().map(|headers| headers.headers().clone()).unwrap_or_default();
    for name in trailers.headers().keys() {
        metadata.remove(name);
        for value in trailers.headers().get_all(name) {
            metadata.append(name.clone(), value.clone());
        }
    }
    in_plain_grpc(&mut metadata, &error);
    match Status::from_header_map(&metadata) {
        Some(mut status) => {
            status.set_source(Arc::new(error));
            status
        }
        None => to_status(error),
    }
}
