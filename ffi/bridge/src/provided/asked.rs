//! Questions to what a host provides.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use micro::server::Body;
use micro::{Code, Codec, Context, Error, Messages, Metadata, Shape, deadline_after};
use serde_json::Value;

use super::names::{SCHEME, find};
use crate::inbound::{Arriving, Host, serve};

/// Name of the metadata that has the arguments of a question, a JSON object.
pub const ARGS: &str = "micro-args-bin";

/// How long a host may take for an answer, unless the deadline of a call that waits for it is nearer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that a host provides, by its area and its name.
pub(super) struct Hosted {
    pub(super) area: u32,
    pub(super) name: String,
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}", self.name)
    }
}

/// What a host is asked: the number of the operation, and what messages call it.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) number: u32,
    pub(super) name: &'static str,
}

impl Hosted {
    /// Asks the host, which answers by one message.
    pub(super) async fn ask(
        &self,
        operation: Operation,
        metadata: Metadata,
        args: &Value,
        message: Bytes,
    ) -> micro::Result<Bytes> {
        let (shape, body) = (Shape::Unary, Body::Message(message));
        self.send(operation, metadata, args, shape, body).await?.into_message().await
    }

    /// Asks the host to go on answering; returns once it has said that it does.
    pub(super) async fn follow(
        &self,
        operation: Operation,
        args: &Value,
        shape: Shape,
        body: Body,
    ) -> micro::Result<Messages> {
        Ok(self.send(operation, Metadata::new(), args, shape, body).await?.into_messages())
    }

    async fn send(
        &self,
        operation: Operation,
        mut metadata: Metadata,
        args: &Value,
        shape: Shape,
        body: Body,
    ) -> micro::Result<Body> {
        let Operation { number, name } = operation;
        let entry = find(self.area, &self.name)?;
        metadata.append_bin(ARGS, args.to_string().as_bytes())?;
        let own = deadline_after(PATIENCE);
        let until =
            Context::current().and_then(|call| call.deadline()).map_or(own, |at| at.min(own));
        // What is followed has no end; only its opening has.
        let deadline = (shape == Shape::Unary).then_some(until);
        let context = Context::of_question(&format!("{self:?}"), name, metadata, deadline);
        let call = Arriving { context, shape, codec: Codec::Json, body, facts: None };
        let opened = async {
            let mut body = serve(Host::clone(&entry.host), number, call).await?.body;
            if let Body::Stream(messages) = &mut body {
                // The empty message that says so.
                messages.message().await?.ok_or_else(|| self.broken(name, "an end at once"))?;
            }
            Ok(body)
        };
        tokio::time::timeout_at(until, opened).await.unwrap_or_else(|_| {
            Err(Error::new(
                Code::DeadlineExceeded,
                format!("{self:?} did not answer {name} before the deadline"),
            ))
        })
    }

    pub(super) fn broken(&self, name: &str, why: impl fmt::Display) -> Error {
        Error::internal(format!("{self:?} answered {name} with what cannot be read: {why}"))
    }
}
