//! Clients: what a host calls, asks and follows by.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};

use futures_util::{FutureExt as _, StreamExt as _};
use micro::settings::{ClientSettings, PublishSettings};
use micro::{Code, Error, Raw};
use tokio_util::sync::CancellationToken;

use crate::completion::Ending;
use crate::desk::{Desk, IN_FLIGHT};
use crate::event::EventKind;
use crate::failure::{Failure, Result};
use crate::flags;
use crate::flow::Opened;
use crate::id::{Id, IdKind};
use crate::lending::Lending;
use crate::live::{self, Live};
use crate::metadata::pack_both;
use crate::operation::Operation;
use crate::operations::{self, Answer, At, Item};
use crate::own;
use crate::publication::Publication;
use crate::question::{self, Question};
use crate::queue::Queue;
use crate::request::{Documents, Request, Terms, request_flags};
use crate::runtime::Runtime;
use crate::shared::Shared;
use crate::within::within;

/// As many as other limits of the kind may be.
const MOST_IN_FLIGHT: usize = 1_000_000;
/// The option of the bridge's own in the client's document.
const MAX_IN_FLIGHT: &str = "max_in_flight";

/// Calls services by name. Clones are the same client.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    desk: Desk,
    client: micro::Client,
    /// The service that it belongs to.
    service: Option<Weak<micro::Service>>,
    documents: Documents,
    _live: Live,
}

impl Client {
    /// A client. `options` is a JSON document of [`ClientSettings`], empty for the defaults, to which the bridge adds
    /// `max_in_flight`: calls and streams under way at once, 1 024 unless set. A place is free again when the operation's
    /// terminal event has been drained, so a queue holds no more than that. It asks and follows as many things beside them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for options that cannot be read; [`Status::CLOSED`](crate::Status::CLOSED),
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn new(runtime: &Runtime, options: &str) -> Result<Self> {
        let shared = runtime.inside()?;
        shared.open()?;
        let (places, options) = own_option(options)?;
        let settings = ClientSettings::from_json(&options)?;
        // Building it starts tasks.
        let _runtime = shared.handle().enter();
        let client = settings.builder()?.build()?;
        Ok(Self::made(shared.clone(), client, places, None))
    }

    /// The client of a service.
    pub(crate) fn of(shared: Arc<Shared>, service: &Arc<micro::Service>) -> Self {
        let client = service.client().clone();
        Self::made(shared, client, IN_FLIGHT, Some(Arc::downgrade(service)))
    }

    fn made(
        shared: Arc<Shared>,
        client: micro::Client,
        places: usize,
        service: Option<Weak<micro::Service>>,
    ) -> Self {
        let (desk, documents) = (Desk::new(shared, places), Documents::default());
        let live = Live::new(live::CLIENT);
        Self(Arc::new(Inner { desk, client, service, documents, _live: live }))
    }

    pub(crate) fn desk(&self) -> &Desk {
        &self.0.desk
    }

    pub(crate) fn core(&self) -> &micro::Client {
        &self.0.client
    }

    /// Makes a unary call. It ends in one [`EventKind::Reply`].
    ///
    /// # Errors
    /// Nothing has begun then, and no event comes: [`Status::FULL`](crate::Status::FULL) when as many operations are under
    /// way as may be, [`Status::ARG`](crate::Status::ARG) or `INVALID_ARGUMENT` for a wrong request, `CANCELLED` when the
    /// parent is over, [`Status::CLOSED`](crate::Status::CLOSED), [`Status::FORKED`](crate::Status::FORKED).
    pub fn call(&self, queue: &Arc<Queue>, request: Request<'_>, token: u64) -> Result<Id> {
        let terms = self.terms(&request)?;
        let (parent, codec) = (terms.parent.clone(), flags::of(terms.codec));
        let place = self.0.desk.call(terms.wait())?;
        let call =
            self.0.client.call::<Raw, Raw>(request.service, request.endpoint, Raw(request.payload));
        let call = call.options(terms.options().counted());
        let operation =
            Operation::new(queue, token, IdKind::Operation, EventKind::Reply).place(place);
        operation.begin(&self.0.desk.shared, |_| {
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

    /// Asks a question. It ends in one [`EventKind::Reply`], the payload of which is the answer, mostly JSON.
    ///
    /// # Errors
    /// As [`Client::call`]. What is wrong with the arguments is `INVALID_ARGUMENT`, and says at which field.
    pub fn ask(&self, queue: &Arc<Queue>, question: Question<'_>, token: u64) -> Result<Id> {
        let terms = self.question(&question)?;
        let (wait, at) = (terms.wait(), self.at());
        let (name, work) = operations::asked(at, &question, &terms)?;
        let operation = Operation::new(queue, token, IdKind::Operation, EventKind::Reply)
            .place(self.0.desk.question(wait)?);
        operation.begin(&self.0.desk.shared, |_| async move {
            match part(terms, name, work).await {
                Ok(Answer { payload, flags, meta }) => {
                    Ending { flags, meta, ..Ending::payload(payload) }
                }
                Err(error) => error.into(),
            }
        })
    }

    /// Follows something. Tells [`EventKind::Opened`] when it does, [`EventKind::Change`] for each thing that happens, or
    /// [`EventKind::Delivery`] for each message of a topic, as [`Runtime::grant`] made room for them, and ends in one [`EventKind::End`]: `CANCELLED` when the host ends it.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn follow(&self, queue: &Arc<Queue>, question: Question<'_>, token: u64) -> Result<Id> {
        let terms = self.question(&question)?;
        let (wait, at, parent) = (terms.wait(), self.at(), terms.parent.clone());
        let closing = at.closing.clone();
        let (name, opening) = operations::followed(at, &question, &terms)?;
        let flow = Arc::new(Opened { closing: Some(closing.clone()), ..Opened::default() });
        let operation = Operation::new(queue, token, IdKind::Watch, EventKind::End)
            .flow(flow.clone())
            .place(self.0.desk.follow(wait)?);
        operation.begin(&self.0.desk.shared, |end| {
            let (teller, shared) = (end.teller(), self.0.desk.shared.clone());
            let told = async move {
                let lending = Lending::new(shared);
                let mut items = part(terms, name, opening).await?;
                teller.tell(EventKind::Opened, |_| {});
                while let Some(item) = items.next().await {
                    match item? {
                        Item::Change(Answer { payload, flags, meta }) => {
                            let bytes = payload.len() + meta.len();
                            tokio::select! {
                                _ = flow.credit.spend(&name, bytes, None) => {}
                                // It may have an end to come to, and tells nothing more.
                                () = closing.cancelled() => continue,
                            }
                            teller.tell(EventKind::Change, |event| {
                                event.flags = flags;
                                event.payload = payload;
                                event.meta = meta;
                            });
                        }
                        Item::Delivery(delivery) => {
                            let bytes = delivery.delivered.message.body.len();
                            flow.credit.spend(&name, bytes, None).await;
                            let mut lent = Ok(());
                            teller.tell(EventKind::Delivery, |event| {
                                lent = lending.lend(*delivery, event);
                            });
                            lent?;
                        }
                    }
                }
                Ok(())
            };
            let queue = queue.clone();
            async move {
                tokio::select! {
                    told = within(parent, told) => match told {
                        Ok(()) => Ending::default(),
                        Err(error) => error.into(),
                    },
                    // What no host is told would be held for ever.
                    () = queue.gone() => Ending::default(),
                }
            }
        })
    }

    /// Publishes a message. It ends in one [`EventKind::Reply`], without a payload, once the message is as safe as the broker
    /// makes messages. With the option `"task": true`, the payload is the id by which its answer can be asked for.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn publish(&self, queue: &Arc<Queue>, message: Publication<'_>, token: u64) -> Result<Id> {
        let desk = &self.0.desk;
        desk.shared.check()?;
        let Publication { topic, payload, meta, timeout_ns, parent, options, flags } = message;
        flags::check(flags, request_flags::WAIT | u32::from(flags::CODEC), "message")?;
        let codec = u16::try_from(flags & u32::from(flags::CODEC)).ok().and_then(flags::codec);
        let codec =
            codec.ok_or_else(|| Failure::argument("the codec of the message is not known"))?;
        let terms = question::Terms::of(desk, meta, timeout_ns, parent, flags)?;
        let mut publish = self.0.client.publish(topic, Raw(payload)).codec(codec);
        let (is_task, options) = own::flag(options, "publish settings", own::TASK)?;
        if !options.is_empty() {
            publish = publish.settings(&PublishSettings::from_json(&options)?);
        }
        let publish = publish.metadata_all(terms.metadata.clone());
        let operation = Operation::new(queue, token, IdKind::Operation, EventKind::Reply)
            .place(desk.message(terms.wait())?);
        if is_task {
            let client = self.0.client.clone();
            return operation.begin(&desk.shared, |_| async move {
                match part(terms, "the task", publish.task(&client)).await {
                    Ok(task) => Ending::payload(task.id().to_owned()),
                    Err(error) => error.into(),
                }
            });
        }
        operation.begin(&desk.shared, |_| async move {
            match part(terms, "the message", publish.into_future()).await {
                Ok(()) => Ending::default(),
                Err(error) => error.into(),
            }
        })
    }

    pub(crate) fn terms(&self, request: &Request<'_>) -> Result<Terms> {
        self.0.desk.shared.check()?;
        Terms::read(request, self.0.desk.parent(request.parent)?, &self.0.documents)
    }

    fn question(&self, question: &Question<'_>) -> Result<question::Terms> {
        self.0.desk.shared.check()?;
        question::Terms::read(question, &self.0.desk)
    }

    fn at(&self) -> At {
        At {
            client: self.0.client.clone(),
            service: self.0.service.as_ref().and_then(Weak::upgrade),
            closing: CancellationToken::new(),
        }
    }
}

/// Work of a question: part of its parent, and over at its deadline.
async fn part<T>(
    terms: question::Terms,
    name: &str,
    work: impl Future<Output = micro::Result<T>>,
) -> micro::Result<T> {
    let question::Terms { until, parent, .. } = terms;
    let timed = async {
        match until {
            Some(until) => tokio::time::timeout_at(until, work).await.map_err(|_| late(name))?,
            None => work.await,
        }
    };
    match parent {
        Some(parent) => within(Some(parent.clone()), Box::pin(parent.scope(timed))).await,
        None => timed.await,
    }
}

fn late(name: &str) -> Error {
    Error::new(Code::DeadlineExceeded, format!("{name} was not answered before its deadline"))
        .with_id("go.micro.client")
}

/// The option that is the bridge's, and the document without it.
fn own_option(options: &str) -> Result<(usize, Cow<'_, str>)> {
    let (own, options) = own::take(options, MAX_IN_FLIGHT);
    let Some(own) = own else { return Ok((IN_FLIGHT, options)) };
    let places = own.as_u64().and_then(|n| usize::try_from(n).ok());
    match places.filter(|n| (1..=MOST_IN_FLIGHT).contains(n)) {
        Some(places) => Ok((places, options)),
        None => {
            let why = format!("{own} is out of range: give 1 to 1 000 000");
            own::wrong("client settings", MAX_IN_FLIGHT, &why)
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.client.fmt(f)
    }
}
