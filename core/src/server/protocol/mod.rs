//! How callers write: gRPC, gRPC-Web or Connect, all on one port.
//!
//! Protocols differ in how a head is read and an answer is written. What lies between (limits,
//! deadlines, middleware, metrics) is the server's and the same for all.
//!
//! gRPC is the common way and comes first; whatever else a request may be is looked at apart from
//! it, so that it costs gRPC nothing.

mod connect;
mod frames;
mod grpc;
mod refusal;
mod upload;
mod web;

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::dispatch::{Dispatch, Peer};
use super::reply::ReplyBody;
use crate::transport::{is_for_another, restore_names};
use refusal::{discard, refusal};
use upload::Upload;

/// Answers one request. Never fails: every failure is an answer.
pub(super) async fn answer(
    request: Request<Incoming>,
    mut peer: Peer,
) -> Result<Response<ReplyBody>, Infallible> {
    peer.link.connection.called(peer.arrived);
    let (mut parts, body) = request.into_parts();
    if peer.link.said.renamed() {
        restore_names(&mut parts.headers);
    }
    let dispatch = &peer.link.dispatch;
    peer.misdirected =
        dispatch.registered && is_for_another(&dispatch.service, &parts.uri, &parts.headers);
    if parts.method == Method::POST
        && parts.version == Version::HTTP_2
        && let Some(content_type) = grpc::content_type(&parts.headers)
    {
        return Ok(grpc::answer(parts, content_type, Upload::new(body), &peer).await);
    }
    // Boxed, so that gRPC's future does not make room for it.
    Ok(Box::pin(answer_others(parts, body, peer)).await)
}

async fn answer_others(parts: Parts, body: Incoming, peer: Peer) -> Response<ReplyBody> {
    let dispatch = &peer.link.dispatch;
    let permission = dispatch.cors.as_ref().and_then(|cors| cors.permit(&parts.headers));
    if let Some(permission) = &permission
        && parts.method == Method::OPTIONS
    {
        return permission.preflight(&parts.headers).map(|()| ReplyBody::Empty);
    }
    let mut body = Upload::new(body);
    let (version, read) = (parts.version, body.read());
    let mut response = answer_by_type(dispatch, parts, body, &peer).await;
    if version <= Version::HTTP_11 && !read.load(Ordering::Acquire) {
        // The next request would begin in the middle of this one.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(permission) = permission {
        permission.expose(response.headers_mut());
    }
    response
}

async fn answer_by_type(
    dispatch: &Dispatch,
    parts: Parts,
    body: Upload,
    peer: &Peer,
) -> Response<ReplyBody> {
    match parts.method {
        Method::POST => {}
        Method::GET if connect::is_query(&parts) => {
            return connect::query(dispatch, parts, peer).await;
        }
        _ => {
            discard(body).await;
            let mut response =
                refusal(StatusCode::METHOD_NOT_ALLOWED, "endpoints are called with POST\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
    }
    match ContentType::of(&parts.headers) {
        Some(ContentType::Grpc) => {
            discard(body).await;
            refusal(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "gRPC needs HTTP/2: HTTP/1.1 serves gRPC-Web and Connect\n",
            )
        }
        Some(ContentType::Web(form)) => web::answer(dispatch, parts, form, body, peer).await,
        Some(ContentType::Connect(codec)) => {
            connect::unary(dispatch, parts, codec, body, peer).await
        }
        Some(ContentType::ConnectStream(codec)) => {
            connect::stream(dispatch, parts, codec, body, peer).await
        }
        None => {
            discard(body).await;
            refusal::unsupported()
        }
    }
}

/// What the content type says of a request.
enum ContentType {
    Grpc,
    Web(web::Form),
    Connect(crate::Codec),
    ConnectStream(crate::Codec),
}

impl ContentType {
    fn of(headers: &HeaderMap) -> Option<Self> {
        if grpc::content_type(headers).is_some() {
            return Some(Self::Grpc);
        }
        let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let bare = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let subtype = bare.strip_prefix("application/")?;
        if let Some(rest) = subtype.strip_prefix("grpc-web") {
            return web::Form::of(rest).map(Self::Web);
        }
        match subtype.strip_prefix("connect+") {
            Some(name) => connect::codec(name).map(Self::ConnectStream),
            None => connect::codec(subtype).map(Self::Connect),
        }
    }
}
