//! Streams that a host opens.

use std::sync::Arc;

use futures_util::StreamExt as _;
use micro::{Context, Metadata, Raw, Shape, Streaming};

use crate::client::Client;
use crate::completion::{Ending, Teller};
use crate::event::{EventKind, Held};
use crate::failure::{Failure, Result};
use crate::flags;
use crate::flow::Opened;
use crate::id::{Id, IdKind};
use crate::metadata::{pack, pack_both};
use crate::operation::Operation;
use crate::outbox::{self, Outbox};
use crate::queue::Queue;
use crate::request::Request;
use crate::within::within;

impl Client {
    /// Opens a stream. It tells [`EventKind::Opened`] when headers come, [`EventKind::Message`] for each message that
    /// [`Runtime::grant`](crate::Runtime::grant) made room for, and ends in one [`EventKind::End`]. Messages are sent with
    /// [`Runtime::send`](crate::Runtime::send); only a [`Shape::ServerStream`] has its one request in the payload. A stream has
    /// no timeout unless it is given one.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn open(
        &self,
        queue: &Arc<Queue>,
        request: Request<'_>,
        shape: Shape,
        token: u64,
    ) -> Result<Id> {
        if !shape.streams() {
            return Err(Failure::argument("this is no stream: call it"));
        }
        if shape.client_streams() && !request.payload.is_empty() {
            return Err(Failure::argument(
                "a stream of requests is opened without one: send them when it is open",
            ));
        }
        let terms = self.terms(&request)?;
        let place = self.desk().call(terms.wait())?;
        let (parent, codec) = (terms.parent.clone(), flags::of(terms.codec));
        let outbox = shape.client_streams().then(|| Outbox::new(queue, token));
        let open = Arc::new(Opened { outbox: outbox.clone(), ..Opened::default() });
        let operation = Operation::new(queue, token, IdKind::Stream, EventKind::End)
            .flow(open.clone())
            .place(place);
        let (service, endpoint) = (request.service, request.endpoint);
        let name = format!("stream {service} {endpoint}");
        let client = self.core();
        let shared = &self.desk().shared;
        match (shape, outbox) {
            (Shape::ClientStream, Some(outbox)) => {
                let requests = outbox::requests(outbox.messages());
                let call = client.client_stream::<_, Raw, Raw>(service, endpoint, requests);
                let call = call.options(terms.options());
                operation.begin(shared, |end| {
                    outbox.name(end.id());
                    let teller = end.teller();
                    async move {
                        let reply = match within(parent, call.send()).await {
                            Ok(reply) => reply,
                            Err(error) => return error.into(),
                        };
                        let meta = pack_both(&reply.headers, &reply.trailers);
                        open.credit.spend(&name, 0, None).await;
                        teller.tell(EventKind::Message, |event| {
                            event.flags =
                                codec | if reply.compressed { flags::COMPRESSED } else { 0 };
                            event.payload = reply.message.0;
                        });
                        Ending { meta, ..Ending::default() }
                    }
                })
            }
            (_, Some(outbox)) => {
                let requests = outbox::requests(outbox.messages());
                let call = client.bidi_stream::<_, Raw, Raw>(service, endpoint, requests);
                let call = call.options(terms.options());
                operation.begin(shared, |end| {
                    outbox.name(end.id());
                    receive((end.teller(), name), open, codec, parent, call)
                })
            }
            (_, None) => {
                let request = Raw(request.payload);
                let call = client.server_stream::<Raw, Raw>(service, endpoint, request);
                let call = call.options(terms.options());
                operation
                    .begin(shared, |end| receive((end.teller(), name), open, codec, parent, call))
            }
        }
    }
}

/// Receives the messages of a stream.
async fn receive<C>(
    (teller, name): (Teller, String),
    open: Arc<Opened>,
    codec: u16,
    parent: Option<Context>,
    call: C,
) -> Ending
where
    C: IntoFuture<Output = micro::Result<Streaming<Raw>>>,
{
    let mut head = Metadata::new();
    let mut stream = match within(parent.clone(), call.into_future()).await {
        Ok(stream) => stream,
        Err(error) => return error.into(),
    };
    let received = within(parent, async {
        if let Some(headers) = stream.headers().await {
            head = headers.clone();
            teller.tell(EventKind::Opened, |event| event.meta = pack(headers));
        }
        // One message is read ahead of what is granted, so that the end is seen without a grant.
        while let Some(message) = stream.next().await.transpose()? {
            let compressed = if stream.compressed() { flags::COMPRESSED } else { 0 };
            let (bytes, hold) = (message.0.len(), stream.take_hold());
            let hold = open.credit.spend(&name, bytes, hold).await;
            teller.tell(EventKind::Message, |event| {
                event.flags = codec | compressed;
                event.payload = message.0;
                event.held = Held::of(hold);
            });
        }
        Ok(())
    })
    .await;
    let none = Metadata::new();
    let meta = pack_both(&head, stream.trailers().unwrap_or(&none));
    match received {
        Ok(()) => Ending { meta, ..Ending::default() },
        Err(error) if meta.is_empty() => error.into(),
        Err(error) => Ending { meta, failure: Some(error.into()), ..Ending::default() },
    }
}
