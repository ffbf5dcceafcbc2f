//! Calls, streams and lookups, begun by a host.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use micro::settings::ClientSettings;
use micro::{Context, Error, Metadata, Raw, Streaming};
use pin_project_lite::pin_project;
use tokio::sync::Semaphore;

use crate::completion::{Ending, Teller};
use crate::credit::Credit;
use crate::event::{EventKind, Held, flags};
use crate::failure::{Failure, Result};
use crate::id::{Id, Kind};
use crate::live::{self, Live};
use crate::metadata::{pack, pack_both};
use crate::outbox::{self, Outbox};
use crate::queue::Queue;
use crate::request::{Documents, Request, Shape, Terms, request_flags};
use crate::runtime::Runtime;
use crate::shared::{Operation, Place, Shared};
use crate::status::Status;
use crate::things::{Open, Task, Thing};

/// Operations of one client that may be under way at once, unless set.
pub(crate) const IN_FLIGHT: usize = 1024;
/// As many as other limits of the kind may be.
const MOST_IN_FLIGHT: usize = 1_000_000;
/// The option of the bridge's own in the client's document.
const MAX_IN_FLIGHT: &str = "max_in_flight";

/// Calls services by name. Clones are the same client.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    client: micro::Client,
    places: Arc<Semaphore>,
    documents: Documents,
    _live: Live,
}

impl Client {
    /// A client. `options` is a JSON document of [`ClientSettings`], empty for the defaults, to which the bridge adds
    /// `max_in_flight`: operations under way at once, 1 024 unless set. A place is free again when the operation's terminal
    /// event has been drained, so a queue holds no more than that.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for options that cannot be read; [`Status::CLOSED`], [`Status::FORKED`].
    pub fn new(runtime: &Runtime, options: &str) -> Result<Self> {
        let shared = runtime.inside()?;
        shared.open()?;
        let (places, options) = own_option(options)?;
        let settings = ClientSettings::from_json(&options)?;
        // Building it starts tasks.
        let _runtime = shared.handle().enter();
        let client = settings.builder()?.build()?;
        Ok(Self::of(shared.clone(), client, places))
    }

    pub(crate) fn of(shared: Arc<Shared>, client: micro::Client, places: usize) -> Self {
        let places = Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
        let documents = Documents::default();
        Self(Arc::new(Inner { shared, client, places, documents, _live: Live::new(live::CLIENT) }))
    }

    /// Makes a unary call. It ends in one [`EventKind::Reply`].
    ///
    /// # Errors
    /// Nothing has begun then, and no event comes: [`Status::FULL`] when as many operations are under way as may be,
    /// [`Status::ARG`] or `INVALID_ARGUMENT` for a wrong request, `CANCELLED` when the parent is over,
    /// [`Status::CLOSED`], [`Status::FORKED`].
    pub fn call(&self, queue: &Arc<Queue>, request: Request<'_>, token: u64) -> Result<Id> {
        let terms = self.terms(&request)?;
        let (parent, codec) = (terms.parent.clone(), flags::of(terms.codec));
        let place = self.place(request.flags)?;
        let call =
            self.0.client.call::<Raw, Raw>(request.service, request.endpoint, Raw(request.payload));
        let call = call.options(terms.options().counted());
        let operation =
            Operation::new(queue, token, Kind::Operation, EventKind::Reply).place(place);
        self.0.shared.begin(operation, |_| {
            within(parent, call.send()).map(move |answer| match answer {
                Ok(reply) => Ending {
                    flags: codec | if reply.compressed { flags::COMPRESSED } else { 0 },
                    payload: reply.message.0,
                    meta: pack_both(&reply.headers, &reply.trailers),
                    failure: None,
                },
                Err(error) => error.into(),
            })
        })
    }

    /// Opens a stream. It tells [`EventKind::Opened`] when headers come, [`EventKind::Message`] for each message that
    /// [`Runtime::grant`] made room for, and ends in one [`EventKind::End`]. Messages are sent with [`Runtime::send`]; only
    /// a [`Shape::ServerStream`] has its one request in the payload. A stream has no timeout unless it is given one.
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
        if shape != Shape::ServerStream && !request.payload.is_empty() {
            return Err(Failure::argument(
                "a stream of requests is opened without one: send them when it is open",
            ));
        }
        let terms = self.terms(&request)?;
        let place = self.place(request.flags)?;
        let (parent, codec) = (terms.parent.clone(), flags::of(terms.codec));
        let outbox = (shape != Shape::ServerStream).then(|| Outbox::new(queue, token));
        let open = Arc::new(Open { outbox: outbox.clone(), credit: Credit::default() });
        let operation = Operation::new(queue, token, Kind::Stream, EventKind::End)
            .thing(Thing::Stream(open.clone(), Task::Coming))
            .place(place);
        let (service, endpoint) = (request.service, request.endpoint);
        let name = format!("stream {service} {endpoint}");
        let client = &self.0.client;
        match (shape, outbox) {
            (Shape::ClientStream, Some(outbox)) => {
                let requests = outbox::requests(outbox.messages());
                let call = client.client_stream::<_, Raw, Raw>(service, endpoint, requests);
                let call = call.options(terms.options());
                self.0.shared.begin(operation, |end| {
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
                self.0.shared.begin(operation, |end| {
                    outbox.name(end.id());
                    receive((end.teller(), name), open, codec, parent, call)
                })
            }
            (_, None) => {
                let request = Raw(request.payload);
                let call = client.server_stream::<Raw, Raw>(service, endpoint, request);
                let call = call.options(terms.options());
                self.0.shared.begin(operation, |end| {
                    receive((end.teller(), name), open, codec, parent, call)
                })
            }
        }
    }

    /// Looks a service up. Ends in one [`EventKind::Reply`] with its versions and nodes, a JSON array of registry records;
    /// with no name, every service there is.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn lookup(&self, queue: &Arc<Queue>, service: &str, token: u64) -> Result<Id> {
        let registry = self.0.client.registry().clone();
        let service = service.to_owned();
        self.ask(queue, token, async move {
            let found = match service.as_str() {
                "" => registry.list().await,
                name => registry.get(name).await,
            };
            json(&found?)
        })
    }

    /// Asks each node of a service whether it wants calls. Ends in one [`EventKind::Reply`] with a JSON array of `node`,
    /// `address`, `version`, `serving` (true or false) and `detail`, which says why a node could not be asked.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn health(&self, queue: &Arc<Queue>, service: &str, token: u64) -> Result<Id> {
        let (client, service) = (self.0.client.clone(), service.to_owned());
        self.ask(queue, token, async move {
            let node = |health: micro::client::NodeHealth| {
                serde_json::json!({
                    "node": health.node.id,
                    "address": health.node.address,
                    "version": health.version,
                    "serving": health.is_serving(),
                    "detail": health.answer.err().map(|error| error.to_string()),
                })
            };
            let nodes = client.health(&service).await?.into_iter().map(node);
            json(&nodes.collect::<Vec<_>>())
        })
    }

    /// Watches a service, or with no name all of them. Tells [`EventKind::Opened`] when it watches, [`EventKind::Change`]
    /// for each change (JSON of [`micro::registry::Change`]) that [`Runtime::grant`] made room for, and ends in one
    /// [`EventKind::End`]: `CANCELLED` when the host ends it, `ABORTED` when it fell too far behind and should begin anew.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn watch(&self, queue: &Arc<Queue>, service: &str, token: u64) -> Result<Id> {
        let registry = self.0.client.registry().clone();
        let service = Some(service.to_owned()).filter(|name| !name.is_empty());
        let open = Arc::new(Open { outbox: None, credit: Credit::default() });
        let operation = Operation::new(queue, token, Kind::Watch, EventKind::End)
            .thing(Thing::Stream(open.clone(), Task::Coming))
            .place(self.place(0)?);
        self.0.shared.begin(operation, |end| {
            let teller = end.teller();
            async move {
                let mut watcher = match registry.watch(service.as_deref()).await {
                    Ok(watcher) => watcher,
                    Err(error) => return error.into(),
                };
                teller.tell(EventKind::Opened, |_| {});
                loop {
                    let change = match watcher.next().await.and_then(|change| json(&change)) {
                        Ok(change) => change,
                        Err(error) => return error.into(),
                    };
                    open.credit.spend(&"watch of the registry", change.len(), None).await;
                    teller.tell(EventKind::Change, |event| event.payload = change);
                }
            }
        })
    }

    /// What this client has seen so far: calls, failures and latencies by endpoint, as JSON.
    ///
    /// # Errors
    /// [`Status::FORKED`].
    pub fn stats(&self) -> Result<String> {
        self.0.shared.check()?;
        Ok(self.0.client.metrics().to_json().to_string())
    }

    fn ask(
        &self,
        queue: &Arc<Queue>,
        token: u64,
        work: impl Future<Output = micro::Result<Bytes>> + Send + 'static,
    ) -> Result<Id> {
        let operation =
            Operation::new(queue, token, Kind::Operation, EventKind::Reply).place(self.place(0)?);
        self.0.shared.begin(operation, |_| async move {
            match work.await {
                Ok(payload) => Ending { flags: flags::JSON, ..Ending::payload(payload) },
                Err(error) => error.into(),
            }
        })
    }

    fn terms(&self, request: &Request<'_>) -> Result<Terms> {
        self.0.shared.check()?;
        let parent = match request.parent {
            Id::NONE => None,
            parent => Some(self.0.shared.context_of(parent).map_err(|failure| {
                if failure.status() == Status::STALE { parent_is_over().into() } else { failure }
            })?),
        };
        Terms::read(request, parent, &self.0.documents)
    }

    fn place(&self, request: u32) -> Result<Place> {
        match self.0.places.clone().try_acquire_owned() {
            Ok(permit) => Ok(Place::Taken(permit)),
            Err(_) if request & request_flags::WAIT != 0 => Ok(Place::Next(self.0.places.clone())),
            Err(_) => Err(Failure::new(
                Status::FULL,
                "as many operations are under way as this client may have (max_in_flight): drain the queue, or let the request wait",
            )),
        }
    }
}

pin_project! {
    /// Work that is part of a call that came in, and ends with it.
    struct Within<W> {
        #[pin]
        work: W,
        over: Option<BoxFuture<'static, ()>>,
    }
}

fn within<W>(parent: Option<Context>, work: W) -> Within<W> {
    let over = parent.map(|parent| async move { parent.cancelled().await }.boxed());
    Within { work, over }
}

impl<T, W: Future<Output = micro::Result<T>>> Future for Within<W> {
    type Output = micro::Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<micro::Result<T>> {
        let this = self.project();
        if let Poll::Ready(done) = this.work.poll(cx) {
            return Poll::Ready(done);
        }
        match this.over.as_mut().map(|over| over.poll_unpin(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(parent_is_over())),
            _ => Poll::Pending,
        }
    }
}

fn parent_is_over() -> Error {
    Error::cancelled("the call that this one is part of is over").with_id("go.micro.client")
}

/// Receives the messages of a stream.
async fn receive<C>(
    (teller, name): (Teller, String),
    open: Arc<Open>,
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

fn json(value: &impl serde::Serialize) -> micro::Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Error::internal(format!("cannot write JSON: {error}")))
}

/// The option that is the bridge's, and the document without it.
fn own_option(options: &str) -> Result<(usize, String)> {
    let wrong = |why: String| Failure::from(Error::invalid_argument(why));
    let Ok(serde_json::Value::Object(mut document)) = serde_json::from_str(options) else {
        // The next reader says what is wrong with it.
        return Ok((IN_FLIGHT, options.to_owned()));
    };
    let Some(own) = document.remove(MAX_IN_FLIGHT) else {
        return Ok((IN_FLIGHT, options.to_owned()));
    };
    let places = own.as_u64().and_then(|n| usize::try_from(n).ok());
    let places = places.filter(|n| (1..=MOST_IN_FLIGHT).contains(n)).ok_or_else(|| {
        wrong(format!(
            "client settings: {MAX_IN_FLIGHT}: {own} is out of range: give 1 to 1 000 000"
        ))
    })?;
    Ok((places, serde_json::Value::Object(document).to_string()))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.client.fmt(f)
    }
}
