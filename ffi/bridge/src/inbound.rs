//! Calls that came in: told to the host, answered by it once.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use futures_util::Stream;
use micro::server::{Body, Request, Response};
use micro::{Code, Codec, Context, Error, Messages, Metadata, Shape};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use crate::credit::Credit;
use crate::event::{Event, EventKind, Held, NO_TIMEOUT, Unseen, Waiting};
use crate::failure::{Failure, Result};
use crate::flags;
use crate::flow::Flow;
use crate::id::{Id, IdKind};
use crate::live::{self, Live};
use crate::metadata::pack;
use crate::outbox::{self, Outbox};
use crate::queue::Queue;
use crate::shared::Shared;
use crate::things::{Call, Thing};

/// A call that came in.
#[derive(Debug)]
pub(crate) struct Inbound {
    context: Context,
    /// Where the answer goes; gone once it has.
    answer: Mutex<Option<oneshot::Sender<Verdict>>>,
    /// Of an endpoint that sends many messages.
    outbox: Option<Arc<Outbox>>,
    /// Of an endpoint that receives many messages.
    credit: Option<Credit>,
    /// Held while the host is told anything.
    known: Mutex<Known>,
    /// The host has seen the call: told to what reads its messages.
    seen: Notify,
    /// Not its owners: an undrained queue owns its calls.
    shared: Weak<Shared>,
    queue: Weak<Queue>,
    token: u64,
    _live: Live,
}

/// What the host knows of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing: it waits in the queue.
    Unseen,
    Seen,
    /// It is told nothing more.
    Over,
}

/// What the host said, as the core is told.
#[derive(Debug)]
enum Verdict {
    Message(Bytes),
    /// The messages of the outbox.
    Stream,
    Error(Error),
}

/// A call as it arrives, or a question to something that the host provides.
pub(crate) struct Arriving {
    pub(crate) context: Context,
    pub(crate) shape: Shape,
    pub(crate) codec: Codec,
    pub(crate) body: Body,
    /// Its meta, where that has more than its headers.
    pub(crate) facts: Option<Bytes>,
}

impl From<Request> for Arriving {
    fn from(request: Request) -> Self {
        let Request { context, shape, codec, body, .. } = request;
        Self { context, shape, codec, body, facts: None }
    }
}

/// Where calls are told.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) token: u64,
}

impl Call for Inbound {
    fn context(&self) -> &Context {
        &self.context
    }

    fn begin(&self) -> Result<()> {
        if self.outbox.is_none() {
            return Err(Failure::argument(
                "this endpoint answers with one message: its headers are sent with that",
            ));
        }
        self.tell_core(Verdict::Stream);
        Ok(())
    }

    fn answer(&self, mut answer: Result<Bytes, Error>, trailers: Metadata) {
        if !trailers.is_empty()
            && let Err(error) = self.context.extend_trailers(trailers)
        {
            answer = answer.and(Err(error));
        }
        let Some(outbox) = &self.outbox else {
            self.tell_core(match answer {
                Ok(message) => Verdict::Message(message),
                Err(error) => Verdict::Error(error),
            });
            return;
        };
        match answer {
            Err(error) if self.tell_core(Verdict::Error(error.clone())) => {}
            Err(error) => {
                let _ = outbox.close(Some(error));
            }
            Ok(last) => {
                self.tell_core(Verdict::Stream);
                let _ = if last.is_empty() { outbox.close(None) } else { outbox.finish(last) };
            }
        }
    }

    fn abandon(&self, id: Id) {
        self.answer(Err(stopped()), Metadata::new());
        self.tell_over(id, Error::cancelled("the runtime has ended"));
    }
}

impl Flow for Inbound {
    fn send(&self, message: Bytes, last: bool) -> Result<()> {
        let Some(outbox) = &self.outbox else {
            return Err(Failure::argument("this endpoint answers with one message: reply with it"));
        };
        if last {
            return Err(Failure::argument("a call that came in is ended by a reply"));
        }
        outbox.send(message, false)?;
        self.tell_core(Verdict::Stream);
        Ok(())
    }

    fn close(&self) -> Result<()> {
        Err(Failure::argument("a call that came in is ended by a reply"))
    }

    fn credit(&self) -> Result<&Credit> {
        self.credit.as_ref().ok_or_else(|| {
            Failure::argument("this endpoint takes one message, which came with the call")
        })
    }
}

impl Unseen for Inbound {
    fn see(&self) -> Option<u64> {
        let mut known = self.known();
        if *known != Known::Unseen {
            return None;
        }
        *known = Known::Seen;
        self.seen.notify_one();
        Some(left(&self.context))
    }

    fn forget(&self, id: Id) {
        if let Some(shared) = self.shared.upgrade() {
            shared.forget_call(id);
        }
    }
}

/// Nanoseconds that the caller still waits.
fn left(context: &Context) -> u64 {
    let left = context.remaining().map(|left| u64::try_from(left.as_nanos()));
    left.map_or(NO_TIMEOUT, |nanos| nanos.unwrap_or(NO_TIMEOUT - 1))
}

impl Inbound {
    /// True when this was the first thing the core was told.
    fn tell_core(&self, answer: Verdict) -> bool {
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

    /// Tells the host that the caller no longer waits, if it has seen the call and has not been told.
    fn tell_over(&self, id: Id, why: Error) {
        let mut known = self.known();
        if std::mem::replace(&mut *known, Known::Over) == Known::Seen {
            let event = Event::new(EventKind::CallCancelled, self.token, id);
            self.tell(event.ended(Failure::from(why)));
        }
    }

    /// False when the queue is closed.
    fn tell(&self, event: Event) -> bool {
        self.queue.upgrade().is_some_and(|queue| queue.push(event))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one call: tells the host, waits for its answer.
pub(crate) async fn serve(host: Host, method: u32, call: Arriving) -> micro::Result<Response> {
    let Arriving { context, shape, codec, body, facts } = call;
    let (message, messages) = match body {
        Body::Message(message) => (message, None),
        Body::Stream(messages) if shape.client_streams() => (Bytes::new(), Some(messages)),
        // Middleware may have made a stream of it.
        body @ Body::Stream(_) => (body.into_message().await?, None),
    };
    let permit = host.queue.admit().ok_or_else(|| {
        Error::resource_exhausted("the service does not get to its calls")
            .with_id("go.micro.server")
    })?;
    let (sender, answered) = oneshot::channel();
    let call = Arc::new(Inbound {
        context: context.clone(),
        answer: Mutex::new(Some(sender)),
        outbox: shape.server_streams().then(|| Outbox::new(&host.queue, host.token)),
        credit: messages.is_some().then(Credit::default),
        known: Mutex::new(Known::Unseen),
        seen: Notify::new(),
        shared: Arc::downgrade(&host.shared),
        queue: Arc::downgrade(&host.queue),
        token: host.token,
        _live: Live::new(live::CALL),
    });
    let id =
        host.shared.things.insert(IdKind::Call, Thing::Call(call.clone())).ok_or_else(|| {
            Error::resource_exhausted("16 million things are under way in this process")
        })?;
    if let Some(outbox) = &call.outbox {
        outbox.name(id);
    }
    let mut served = Served { host, id, call, reading: None };
    let Host { shared, queue, token } = &served.host;
    // Seen by those who end all, or seen here.
    if shared.is_closed() {
        return Err(stopped());
    }
    let told = queue.push(Event {
        flags: flags::of(codec) | if context.request_compressed() { flags::COMPRESSED } else { 0 },
        method,
        timeout_ns: left(&context),
        payload: message,
        meta: facts.unwrap_or_else(|| pack(context.metadata())),
        held: Held::Waiting(Waiting::new(id, served.call.clone(), Some(permit))),
        ..Event::new(EventKind::Call, *token, id)
    });
    if !told {
        return Err(stopped());
    }
    if let Some(messages) = messages {
        let call = served.call.clone();
        let work = read(call, messages, (id, *token), flags::of(codec));
        served.reading = Some(shared.spawn(work));
    }
    let body = match answered.await {
        Ok(Verdict::Message(message)) => Body::Message(message),
        Ok(Verdict::Error(error)) => return Err(error),
        Ok(Verdict::Stream) => match &served.call.outbox {
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

/// A call as the core sees it. Dropped before the host has answered, it tells the host that the caller no longer waits.
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
        if answered {
            *self.call.known() = Known::Over;
            return;
        }
        let late = self.call.context.remaining().is_some_and(|left| left.is_zero());
        self.call.tell_over(
            self.id,
            if late {
                Error::new(Code::DeadlineExceeded, "the deadline of this call has passed")
            } else {
                Error::cancelled("the caller no longer waits for this call")
            },
        );
    }
}

fn stopped() -> Error {
    Error::unavailable("the service has stopped").with_id("go.micro.server")
}

/// Reads the requests of a stream, as the host makes room for them.
async fn read(call: Arc<Inbound>, mut messages: Messages, (id, token): (Id, u64), codec: u16) {
    // A call that is over before the host sees it leaves nothing behind.
    call.seen.notified().await;
    let name = format!("stream of requests of {}", call.context.endpoint());
    loop {
        let next = messages.message().await;
        let event = match next {
            Ok(Some(message)) => {
                let compressed =
                    if call.context.request_compressed() { flags::COMPRESSED } else { 0 };
                let mut hold = messages.take_hold();
                if let Some(credit) = &call.credit {
                    hold = credit.spend(&name, message.len(), hold).await;
                }
                let event = Event::new(EventKind::Message, token, id);
                let held = Held::of(hold);
                Event { flags: codec | compressed, payload: message, held, ..event }
            }
            Ok(None) => Event::new(EventKind::End, token, id),
            Err(error) => Event::new(EventKind::End, token, id).ended(Failure::from(error)),
        };
        let last = event.kind == EventKind::End;
        {
            let known = call.known();
            if *known == Known::Over || !call.tell(event) {
                return;
            }
        }
        if last {
            return;
        }
    }
}

/// The replies of a stream, which keep the call until they are all sent or no longer wanted.
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
