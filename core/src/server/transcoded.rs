//! JSON for handlers that know protobuf alone, by the descriptors of their messages.

use futures_util::StreamExt as _;
use prost_reflect::MessageDescriptor;

use super::handler::{Body, Handler, Request, Response};
use crate::codec::{Codec, reply_to_json, request_from_json};
use crate::error::Result;
use crate::streaming::Messages;

/// `handler`, which then also takes `request` as JSON, and answers with `reply` as JSON.
pub(super) fn transcoded(
    handler: Handler,
    request: MessageDescriptor,
    reply: MessageDescriptor,
) -> Handler {
    Handler::boxed(move |call: Request| {
        if call.codec != Codec::Json {
            return handler.run(call);
        }
        let (handler, request, reply) = (handler.clone(), request.clone(), reply.clone());
        Box::pin(async move {
            let call = Request {
                codec: Codec::Proto,
                body: each(call.body, move |message| request_from_json(&request, &message))?,
                ..call
            };
            let Response { body } = handler.run(call).await?;
            Ok(Response { body: each(body, move |message| reply_to_json(&reply, message))? })
        })
    })
}

/// The messages, each as `change` makes it.
fn each(
    body: Body,
    mut change: impl FnMut(bytes::Bytes) -> Result<bytes::Bytes> + Send + 'static,
) -> Result<Body> {
    Ok(match body {
        Body::Message(message) => Body::Message(change(message)?),
        Body::Stream(messages) => {
            Body::Stream(Messages::new(messages.map(move |message| message.and_then(&mut change))))
        }
    })
}
