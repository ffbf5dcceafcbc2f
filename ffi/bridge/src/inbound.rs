//! Calls that came in: told to the host, answered by it once.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use futures_util::Stream;
use micro::server::{Body, Request, Response};
use micro::{Code, Context, Error, Messages, Metadata};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::credit::Credit;
use crate::event::{Event, EventKind, Held, Unseen, flags};
use crate::failure::{Failure, Result};
use crate::id::{Id, Kind};
use crate::live::{self, Live};
use crate::metadata::pack;
use crate::outbox::{self, Outbox};
use crate::queue::Queue;
use crate::request::NO_TIMEOUT;
use crate::shared::Shared;
use crate::things::Thing;

/// A call that came in.
#[derive(Debug)]
pub(crate) struct Inbound {
    context: Context,
    /// Where the answer goes; gone once it has.
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
    /// Of an endpoint that sends many messages.
    outbox: Option<Arc<Outbox>>,
    /// Of an endpoint that receives many messages.
    credit: Option<Credit>,
    /// True once the host has been told that it is over; held while it is told anything.
    over: Mutex<bool>,
    _live: Live,
}

/// What the core is told.
#[derive(Debug)]
enum Answer {
    Message(Bytes),
    /// The messages of the outbox.
    Stream,
    Error(Error),
}

/// Whom a call is told to.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) token: u64,
}

impl Inbound {
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// The one answer; the call is in nobody's hands any more.
    pub(crate) fn answer(&self, answer: Result<Bytes, Error>, trailers: Metadata) {
        if !trailers.is_empty() {
            self.context.extend_trailers(trailers);
        }
        let Some(outbox) = &self.outbox else {
            self.tell_core(match answer {
                Ok(message) => Answer::Message(message),
                Err(error) => Answer::Error(error),
            });
            return;
        };
        match answer {
            Err(error) if self.tell_core(Answer::Error(error.clone())) => {}
            Err(error) => {
                let _ = outbox.close(Some(error));
            }
            Ok(last) => {
                self.tell_core(Answer::Stream);
                let _ = if last.is_empty() { outbox.close(None) } else { outbox.finish(last) };
            }
        }
    }

    /// A message of a stream.
    pub(crate) fn send(&self, message: Bytes, last: bool) -> Result<()> {
        let Some(outbox) = &self.outbox else {
            return Err(Failure::argument("this endpoint answers with one message: reply with it"));
        };
        if last {
            return Err(Failure::argument("a call that came in is ended by a reply"));
        }
        outbox.send(message, false)?;
        self.tell_core(Answer::Stream);
        Ok(())
    }

    pub(crate) fn grant(&self, messages: u32) -> Result<()> {
        let Some(credit) = &self.credit else {
            return Err(Failure::argument(
                "this endpoint takes one message, which came with the call",
            ));
        };
        credit.grant(messages);
        Ok(())
    }

    /// True when this was the first thing the core was told.
    fn tell_core(&self, answer: Answer) -> bool {
        let waiting = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match waiting {
            // The core may have stopped waiting; then the host hears of that.
            Some(waiting) => {
                let _ = waiting.send(answer);
                true
            }
            None => false,
        }
    }

    fn over(&self) -> MutexGuard<'_, bool> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one call: tells the host, waits for its answer.
pub(crate) async fn serve(host: Host, method: u32, request: Request) -> micro::Result<Response> {
    let Request { context, kind, codec, body, .. } = request;
    let (message, messages) = match body {
        Body::Message(message) => (message, None),
        Body::Stream(messages) if kind.client_streams() => (Bytes::new(), Some(messages)),
        // Middleware may have made a stream of it.
        body @ Body::Stream(_) => (body.into_message().await?, None),
    };
    let (sender, answered) = oneshot::channel();
    let call = Arc::new(Inbound {
        context: context.clone(),
        answer: Mutex::new(Some(sender)),
        outbox: kind.server_streams().then(|| Outbox::new(host.queue.clone(), host.token)),
        credit: messages.is_some().then(Credit::default),
        over: Mutex::new(false),
        _live: Live::new(live::CALL),
    });
    let id = host.shared.things.insert(Kind::Call, Thing::Call(call.clone())).ok_or_else(|| {
        Error::resource_exhausted("16 million things are under way in this process")
    })?;
    if let Some(outbox) = &call.outbox {
        outbox.name(id);
    }
    let mut served = Served { host, id, call, reading: None };
    let Host { shared, queue, token } = &served.host;
    let left = context
        .remaining()
        .map_or(NO_TIMEOUT, |left| u64::try_from(left.as_nanos()).unwrap_or(NO_TIMEOUT - 1));
    let told = queue.push(Event {
        flags: flags::of(codec) | if context.request_compressed() { flags::COMPRESSED } else { 0 },
        method,
        timeout_ns: left,
        payload: message,
        meta: pack(context.metadata()),
        held: Held::Unseen(Unseen(Some(shared.clone()), id)),
        ..Event::new(EventKind::Call, *token, id)
    });
    if !told {
        return Err(Error::unavailable("the service has stopped").with_id("go.micro.server"));
    }
    if let Some(messages) = messages {
        let (call, queue) = (served.call.clone(), queue.clone());
        let work = read(call, messages, queue, (id, *token), flags::of(codec));
        served.reading = Some(shared.spawn(work));
    }
    let body = match answered.await {
        Ok(Answer::Message(message)) => Body::Message(message),
        Ok(Answer::Error(error)) => return Err(error),
        Ok(Answer::Stream) => match &served.call.outbox {
            Some(outbox) => {
                let messages = outbox.messages();
                Body::Stream(Messages::new(Replies { messages, _served: served }))
            }
            None => return Err(Error::internal("a stream without messages")),
        },
        Err(_) => {
            return Err(Error::internal("handler dropped the call").with_id("go.micro.server"));
        }
    };
    Ok(Response { body })
}

/// A call as the core sees it. Dropped before the host has answered, it tells the host that nobody waits any more.
struct Served {
    host: Host,
    id: Id,
    call: Arc<Inbound>,
    reading: Option<AbortHandle>,
}

impl Drop for Served {
    fn drop(&mut self) {
        let answered = self.host.shared.things.remove(self.id).is_none();
        if let Some(reading) = &self.reading {
            reading.abort();
        }
        let mut over = self.call.over();
        if !std::mem::replace(&mut *over, true) && !answered {
            let event = Event::new(EventKind::CallCancelled, self.host.token, self.id);
            let gone = Error::cancelled("nobody waits for this call any more");
            self.host.queue.push(event.ended(Failure::from(match self.call.context.remaining() {
                Some(left) if left.is_zero() => {
                    Error::new(Code::DeadlineExceeded, "the deadline of this call has passed")
                }
                _ => gone,
            })));
        }
    }
}

/// Reads the requests of a stream, as the host makes room for them.
async fn read(
    call: Arc<Inbound>,
    mut messages: Messages,
    queue: Arc<Queue>,
    (id, token): (Id, u64),
    codec: u16,
) {
    let name = format!("stream of requests of {}", call.context.endpoint());
    loop {
        let next = messages.message().await;
        let event = match next {
            Ok(Some(message)) => {
                let compressed =
                    if call.context.request_compressed() { flags::COMPRESSED } else { 0 };
                if let Some(credit) = &call.credit {
                    credit.spend(&name).await;
                }
                let event = Event::new(EventKind::Message, token, id);
                Event { flags: codec | compressed, payload: message, ..event }
            }
            Ok(None) => Event::new(EventKind::End, token, id),
            Err(error) => Event::new(EventKind::End, token, id).ended(Failure::from(error)),
        };
        let last = event.kind == EventKind::End;
        {
            let over = call.over();
            if *over || !queue.push(event) {
                return;
            }
        }
        if last {
            return;
        }
    }
}

/// The replies of a stream, which keep the call until they are all sent or nobody wants them.
struct Replies {
    messages: outbox::Messages,
    _served: Served,
}

impl Stream for Replies {
    type Item = micro::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.messages).poll_next(cx)
    }
}
