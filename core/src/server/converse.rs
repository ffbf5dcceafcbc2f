//! The conversation of one call, the same for every protocol: let it in, run it, and give what is to be written back.

use bytes::Bytes;
use http::HeaderMap;

use super::dispatch::{Head, Peer};
use super::failure::told;
use super::handler::Body;
use super::reply::StreamBody;
use super::requests::Requests;
use crate::error::{Error, Result};
use crate::transport::{Compression, OTHER_SERVICE, REFUSED, caller_is_micro, frame, write_status};

/// Compressing less than this costs more than it saves.
const WORTH_COMPRESSING: usize = 256;

/// What a protocol writes back.
pub(super) struct CallAnswer {
    pub(super) headers: HeaderMap,
    /// Compression the head has to name.
    pub(super) compression: Option<Compression>,
    pub(super) reply: Reply,
}

pub(super) enum Reply {
    /// One message, and the trailers; with the status where messages are framed.
    Message(Bytes, HeaderMap),
    /// Framed messages; the trailers with the status come last.
    Stream(Box<StreamBody>),
    /// No message at all: the error, trailers without a status, and whether a micro caller asks.
    Failure { error: Error, trailers: HeaderMap, micro: bool },
}

/// How the messages of an answer are laid out.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    /// Each in the frame of gRPC, with trailers behind.
    Framed,
    /// One, which is all of the body. The function puts the trailers into the head.
    Whole(fn(&mut HeaderMap, HeaderMap)),
}

/// Runs a call. `read` takes the protocol's part of the headers, `requests` cuts messages out of the body.
pub(super) async fn converse<R: Requests>(
    path: &str,
    mut headers: HeaderMap,
    peer: &Peer,
    layout: Layout,
    read: impl FnOnce(&mut HeaderMap) -> Result<Head>,
    requests: impl FnOnce(Option<Compression>) -> R,
) -> CallAnswer {
    let (link, dispatch) = (&peer.link, &peer.link.dispatch);
    let mut call = match dispatch.admit(path, &mut headers, peer, read) {
        Ok(call) => call,
        Err(error) => {
            let micro = caller_is_micro(&headers);
            let mut headers = HeaderMap::new();
            if peer.misdirected && matches!(layout, Layout::Framed) {
                headers.insert(REFUSED, OTHER_SERVICE);
            }
            return CallAnswer::failure(headers, HeaderMap::new(), error, micro);
        }
    };
    let requests = requests(call.head.incoming);
    let mut outcome = dispatch.run(&mut call, requests, &link.connection).await;
    let context = call.record.context();
    if matches!((layout, &outcome), (Layout::Whole(_), Ok(Body::Stream(_)))) {
        // Middleware has made a stream of it. Boxed, since that is rare.
        let whole = Box::pin(async { outcome?.into_message().await });
        outcome = whole.await.map(Body::Message).map_err(|error| told(error, context));
    }
    let mut headers = context.take_reply_headers();
    match layout {
        Layout::Framed => has_run(&mut headers),
        Layout::Whole(put) => put(&mut headers, context.take_reply_trailers()),
    }
    let outcome = outcome.and_then(|body| {
        link.said.takes("the headers of the answer", &headers)?;
        Ok(body)
    });
    let chosen = context.compression();
    let compression = chosen.unwrap_or(call.head.outgoing);
    let packed = match (outcome, layout) {
        (Ok(Body::Message(message)), Layout::Framed) => {
            let wanted = chosen.is_some() || message.len() >= WORTH_COMPRESSING;
            frame(&message, compression.filter(|_| wanted)).map(|message| {
                let compressed = message.first() == Some(&1);
                (message, compression.filter(|_| compressed))
            })
        }
        (Ok(Body::Message(message)), Layout::Whole(_)) => pack(message, call.head.outgoing),
        (Ok(Body::Stream(messages)), _) => {
            let (connection, said) = (link.connection.clone(), link.said.clone());
            let body = StreamBody::new(messages, compression, call.record, connection, said);
            return CallAnswer { headers, compression, reply: Reply::Stream(Box::new(body)) };
        }
        (Err(error), _) => Err(error),
    };
    let mut trailers = HeaderMap::new();
    if let Layout::Framed = layout {
        trailers = context.take_reply_trailers();
        has_run(&mut trailers);
    }
    let packed = packed.and_then(|packed| {
        link.said.takes("the trailers of the answer", &trailers)?;
        Ok(packed)
    });
    match packed {
        Ok((message, compression)) => {
            call.record.finish(None);
            if let Layout::Framed = layout {
                write_status(&mut trailers, None, false);
            }
            let message = link.connection.unsent.count(message);
            CallAnswer { headers, compression, reply: Reply::Message(message, trailers) }
        }
        Err(error) => {
            let micro = caller_is_micro(context.metadata().headers());
            call.record.finish(Some(&error));
            // What is too large is left out, but why the call failed is not.
            for metadata in [&mut headers, &mut trailers] {
                if link.said.takes("", metadata).is_err() {
                    metadata.clear();
                }
            }
            CallAnswer::failure(headers, trailers, error, micro)
        }
    }
}

/// The handler has run, whatever it says.
fn has_run(metadata: &mut HeaderMap) {
    if !metadata.is_empty() {
        metadata.remove(REFUSED);
    }
}

/// A message without a frame, compressed where that is worth it.
fn pack(message: Bytes, compression: Option<Compression>) -> Result<(Bytes, Option<Compression>)> {
    match compression.filter(|_| message.len() >= WORTH_COMPRESSING) {
        Some(chosen) => Ok((chosen.compress(&message)?, compression)),
        None => Ok((message, None)),
    }
}

impl CallAnswer {
    fn failure(headers: HeaderMap, trailers: HeaderMap, error: Error, micro: bool) -> Self {
        Self { headers, compression: None, reply: Reply::Failure { error, trailers, micro } }
    }
}
