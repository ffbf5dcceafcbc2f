//! Answers to what is no call.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body as _;
use tokio::time::timeout;

use super::upload::Upload;
use crate::server::reply::ReplyBody;

const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const UNDERSTOOD: HeaderValue = HeaderValue::from_static(
    "application/json, application/proto, application/connect+json, application/connect+proto, \
     application/grpc, application/grpc-web, application/grpc-web-text",
);

/// Bytes of a refused request that are read before the answer.
const MAX_DISCARDED: usize = 64 * 1024;
/// Time for that.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Reads a request to its end that is going to be refused, as far as that is no burden. HTTP/2 resets
/// a stream that is answered before its end, and many clients then never look at the answer.
pub(super) async fn discard(mut body: Upload) {
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > MAX_DISCARDED {
                return;
            }
        }
    };
    let _ = timeout(DISCARD_TIME, read).await;
}

/// An HTTP status with a sentence for the client.
pub(super) fn refusal(status: StatusCode, reason: &'static str) -> Response<ReplyBody> {
    let reason = Bytes::from_static(reason.as_bytes());
    let mut response = Response::new(ReplyBody::Message(Some(reason), None));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The answer to a content type that is none of ours.
pub(super) fn unsupported() -> Response<ReplyBody> {
    let mut response = refusal(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported content-type: this port speaks gRPC, gRPC-Web and Connect; send application/json, application/proto or one of gRPC's",
    );
    response.headers_mut().insert(ACCEPT_POST, UNDERSTOOD);
    response
}
