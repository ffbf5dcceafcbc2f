//! What comes back from one attempt: a head, messages, a status.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;

use super::seen::Seen;
use crate::codec::unreadable_reply;
use crate::error::{Code, Error, Reach, Reason, Result};
use crate::transport::{
    Answering, Compressor, FrameError, Frames, GRPC_STATUS, REFUSED, Share, broken, read_status,
};

/// The head of an answer and the messages behind it.
pub(super) struct ReplyStream {
    pub(super) headers: HeaderMap,
    pub(super) frames: Frames<Answering>,
    /// True once a message has come: a status in the head counts no more.
    pub(super) spoke: bool,
}

impl ReplyStream {
    /// Reads the head of an answer.
    ///
    /// # Errors
    /// The status, when the answer is nothing but one, and gRPC's code for an HTTP status or
    /// content type that no gRPC server sends.
    pub(super) fn read(
        response: Response<Answering>,
        limit: usize,
        share: Arc<Share>,
        seen: Option<&Seen>,
    ) -> Result<Self> {
        let (headers, body) = open(response, seen)?;
        let compression = Compressor::incoming(&headers)
            // It was told what this side reads.
            .map_err(|error| error.with_code(Code::Internal))?;
        let frames = Frames::new(body, compression, limit).within(share);
        Ok(Self { headers, frames, spoke: false })
    }
}

/// The head of an answer, and what comes behind it.
///
/// # Errors
/// As [`ReplyStream::read`].
pub(super) fn open(
    response: Response<Answering>,
    seen: Option<&Seen>,
) -> Result<(HeaderMap, Answering)> {
    let (parts, body) = response.into_parts();
    // A head that is all there is, is the trailers as well.
    let only = body.is_end_stream() && parts.headers.contains_key(GRPC_STATUS);
    if let Some(seen) = seen {
        if only {
            seen.begin(&HeaderMap::new());
            seen.end(&parts.headers);
        } else {
            seen.begin(&parts.headers);
        }
    }
    if parts.status != StatusCode::OK {
        return Err(not_grpc(parts.status));
    }
    if only && let Some(error) = read_status(&parts.headers) {
        let mut error = with_pushback(error, &parts.headers);
        if parts.headers.contains_key(REFUSED) {
            error = error.with_reach(Reach::Never).with_reason(Reason::OtherService);
        }
        return Err(error.with_answer(HeaderMap::new(), parts.headers));
    }
    let content_type = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
    if !content_type.starts_with(b"application/grpc") {
        return Err(Error::new(
            Code::Unknown,
            format!(
                "the answer has content-type `{}`: is the address a gRPC server?",
                String::from_utf8_lossy(content_type)
            ),
        ));
    }
    Ok((parts.headers, body))
}

/// How the call ended, by what came after the last message. The head counts where there was no
/// message and the server put the status there.
pub(super) fn end(
    head: Option<&HeaderMap>,
    trailers: Option<&HeaderMap>,
    seen: Option<&Seen>,
) -> Option<Error> {
    if let (Some(seen), Some(trailers)) = (seen, trailers) {
        seen.end(trailers);
    }
    match (trailers, head.filter(|head| head.contains_key(GRPC_STATUS))) {
        (Some(trailers), _) => read_status(trailers).map(|error| with_pushback(error, trailers)),
        (None, Some(head)) => read_status(head).map(|error| with_pushback(error, head)),
        (None, None) => Some(Error::internal("the server ended the call without a status")),
    }
}

/// What the server says of trying again (gRFC A6): after so many milliseconds, or with anything else never.
fn with_pushback(error: Error, headers: &HeaderMap) -> Error {
    let Some(value) = headers.get("grpc-retry-pushback-ms") else { return error };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse::<i32>().ok()) {
        Some(millis) => {
            error.with_retry_after(Duration::from_millis(u64::from(millis.unsigned_abs())))
        }
        None => error.without_retry(),
    }
}

pub(super) fn unreadable(error: FrameError<h2::Error>) -> Error {
    match error {
        FrameError::Message(error) if error.code() == Code::InvalidArgument => {
            unreadable_reply(&error)
        }
        FrameError::Message(error) => error.with_id("go.micro.client"),
        FrameError::Body(error) => broken(&error),
    }
}

/// gRPC's table for answers of proxies and plain HTTP servers. It has no line for headers that are too large, which gRPC's own
/// limits call `RESOURCE_EXHAUSTED`.
fn not_grpc(status: StatusCode) -> Error {
    if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
        return Error::resource_exhausted(format!(
            "the peer answered HTTP {status}: the metadata is larger than it takes"
        ))
        .without_retry();
    }
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Error::new(code, format!("the peer answered HTTP {status}: is the address a gRPC server?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_statuses_have_the_codes_of_grpcs_table() {
        for (status, code) in [
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (413, Code::Unknown),
            (429, Code::Unavailable),
            (431, Code::ResourceExhausted),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::Unavailable),
            (204, Code::Unknown),
            (302, Code::Unknown),
            (405, Code::Unknown),
            (415, Code::Unknown),
            (500, Code::Unknown),
        ] {
            let error = not_grpc(StatusCode::from_u16(status).unwrap());
            assert_eq!(error.code(), code, "{status}");
            assert_eq!(error.forbids_retry(), code == Code::ResourceExhausted, "{status}");
        }
    }

    #[test]
    fn pushback_that_is_no_wait_forbids_a_retry() {
        let told = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-retry-pushback-ms", value.parse().unwrap());
            let error = with_pushback(Error::unavailable("busy"), &headers);
            (error.retry_after(), error.forbids_retry())
        };
        assert_eq!(told("0"), (Some(Duration::ZERO), false));
        assert_eq!(told("250"), (Some(Duration::from_millis(250)), false));
        for never in ["-1", "-250", "soon", "", "1.5", "+1", " 1", "99999999999", "1ms"] {
            assert_eq!(told(never), (None, true), "{never:?}");
        }
        let silent = with_pushback(Error::unavailable("busy"), &HeaderMap::new());
        assert_eq!((silent.retry_after(), silent.forbids_retry()), (None, false));
    }
}
