//! Services whose handlers are a host's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use micro::service::ServiceBuilder;
use micro::settings::{
    EndpointSettings, Explained, Explanation, JobSettings, ServiceSettings, SubscriberSettings,
};
use micro::{Error, Service, Shape};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::completion::Ending;
use crate::event::EventKind;
use crate::failure::{Failure, Result};
use crate::flags;
use crate::id::{Id, IdKind};
use crate::inbound::Host;
use crate::live::{self, Live};
use crate::operation::Operation;
use crate::own::{self, ARGS, TASK};
use crate::planned::{FALLBACK, Planned, REGISTER_CHECK, What};
use crate::queue::Queue;
use crate::runtime::Runtime;
use crate::shared::{Shared, Stop};

/// A service of the host. Endpoints are added first, then it is started; its calls come out of a queue.
#[derive(Clone)]
pub struct Server(Arc<Serving>);

/// What is known of a service, before and while it runs.
pub(crate) struct Serving {
    shared: Arc<Shared>,
    name: String,
    state: Mutex<State>,
    stop: CancellationToken,
    ended: CancellationToken,
    _live: Live,
}

enum State {
    Made { settings: Box<Told>, endpoints: Vec<Planned> },
    Starting,
    Running(Arc<Service>, Client),
    Over,
}

/// What a service is told: by the program, and by its command line.
struct Told {
    settings: ServiceSettings,
    args: Option<Vec<String>>,
    /// It ends once it has served one call or message.
    once: bool,
}

impl Told {
    /// # Errors
    /// `INVALID_ARGUMENT` for what cannot be read.
    fn read(options: &str) -> Result<Self> {
        let (args, options) = own::take(options, ARGS);
        let args = match args.map(serde_json::from_value).transpose() {
            Ok(args) => args,
            Err(_) => {
                let why = "give a list of texts, the command line without the name of the program";
                return own::wrong("service settings", ARGS, why);
            }
        };
        let (once, options) = own::flag(&options, "service settings", ONCE)?;
        Ok(Self { settings: ServiceSettings::from_json(&options)?, args, once })
    }

    fn builder(self, name: &str) -> micro::Result<ServiceBuilder> {
        let builder = self.settings.builder(name)?;
        match self.args {
            Some(args) => builder.args(args),
            None => Ok(builder),
        }
    }
}

/// The option of a service that makes it what go-micro calls a function.
const ONCE: &str = "once";

impl Server {
    /// A service called `name`. `options` is a JSON document of [`ServiceSettings`], empty for the defaults, to which the bridge
    /// adds `args`: the command line of the program, a list of texts without its name. What that says comes before variables,
    /// documents and options. With `"once": true` it serves one call or message, refuses others that come meanwhile, and stops in
    /// order once that is answered or settled, whatever became of it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for options that cannot be read; with `args` also for a flag, a variable or a document that is wrong,
    /// and `CANCELLED` for `--help` and `--version`, with the text to print as its message; [`Status::CLOSED`](crate::Status::CLOSED),
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn new(runtime: &Runtime, name: &str, options: &str) -> Result<Self> {
        let shared = runtime.inside()?;
        shared.open()?;
        let settings = Box::new(Told::read(options)?);
        if settings.args.is_some() {
            explanation(name, options)?;
        }
        Ok(Self(Arc::new(Serving {
            shared: shared.clone(),
            name: name.to_owned(),
            state: Mutex::new(State::Made { settings, endpoints: Vec::new() }),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            _live: Live::new(live::SERVER),
        })))
    }

    /// Every setting of a service with its value and what set it, as a start would find them now: a JSON array of objects with
    /// `key`, `value`, `source` and `kind`, which is `default`, `code`, `document`, `variable` or `flag`. Takes what
    /// [`Server::new`] takes, and starts no thread.
    ///
    /// # Errors
    /// As [`Server::new`] with `args`.
    pub fn explain(name: &str, options: &str) -> Result<String> {
        let explanation = explanation(name, options)?;
        let told = explanation.iter().map(|Explained { key, value, source }| {
            json!({
                "key": key, "value": value, "source": source.to_string(), "kind": source.kind(),
            })
        });
        Ok(Value::Array(told.collect()).to_string())
    }

    /// Adds an endpoint, `Type.Method` or `package.Type.Method`; returns the number by which events name it, from 0. `options` is a JSON document of
    /// [`EndpointSettings`]. A name that cannot be used is found out by the start.
    ///
    /// `*` answers the calls that no other endpoint does, behind all middleware: a stream both ways, of which [`Runtime::describe`]
    /// tells the path. It is not registered, and its options are not looked at; of several the last one counts.
    ///
    /// With the option `"register_check": true`, which stands alone, it is no endpoint but the check before each registration:
    /// each comes as an [`EventKind::Call`] with its number, and is answered with an empty reply by a node that is fit, and with
    /// an error by one that is not. It may have any name; of several the last one counts.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for options that cannot be read, `FAILED_PRECONDITION` once it has been started,
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn method(&self, name: &str, shape: Shape, options: &str) -> Result<u32> {
        self.0.shared.check()?;
        let (check, options) = own::take(options, REGISTER_CHECK);
        let settings = EndpointSettings::from_json(&options)?;
        let what = match check {
            None => What::Endpoint(shape, settings),
            Some(Value::Bool(true)) if matches!(&*options, "{}") && shape == Shape::Unary => {
                What::RegisterCheck
            }
            Some(_) => {
                let why = "write true, alone, for what has one request and one reply";
                return own::wrong("endpoint settings", REGISTER_CHECK, why);
            }
        };
        if name == FALLBACK && shape != Shape::BidiStream {
            return Err(Failure::from(Error::invalid_argument(
                "the endpoint `*` answers whatever no other does, so it is a stream both ways",
            )));
        }
        self.plan(Planned { name: name.to_owned(), what })
    }

    /// Subscribes to a topic; returns the number by which events name it, one row with those of endpoints. `options` is a JSON
    /// document of [`SubscriberSettings`]. What the broker cannot do is found out by the start.
    ///
    /// Each message comes as an [`EventKind::Call`] with that number; its meta is a block of headers, and one of what is known
    /// beside them, as an [`EventKind::Delivery`] has it. An empty reply says that it was handled, an error that it was not:
    /// it is delivered again where the broker can, unless it was tried too often. [`Runtime::settle`] says more.
    ///
    /// With the option `"task": true` it is a worker: the reply is the answer of the task, and has the codec of its message.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for options that cannot be read, `FAILED_PRECONDITION` once it has been started,
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn subscribe(&self, topic: &str, options: &str) -> Result<u32> {
        self.0.shared.check()?;
        let (is_task, options) = own::flag(options, "subscriber settings", TASK)?;
        let settings = SubscriberSettings::from_json(&options)?;
        let what = if is_task { What::Task(settings) } else { What::Subscriber(settings) };
        self.plan(Planned { name: topic.to_owned(), what })
    }

    /// Adds a job; returns the number by which events name it, one row with those of endpoints. `options` is a JSON document of
    /// [`JobSettings`]. What makes no sense, or is more than the broker can do, is found out by the start.
    ///
    /// Each run comes as an [`EventKind::Call`] with that number, without a payload; its meta is a block of headers, and one of
    /// what is known of the run: `job`, `time` (milliseconds since 1970) and `attempt`. An empty reply says that it is done,
    /// an error that it failed: it is run again, unless it was tried too often. [`Runtime::settle`] says more, as of a message.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for options that cannot be read, `FAILED_PRECONDITION` once it has been started,
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn job(&self, options: &str) -> Result<u32> {
        self.0.shared.check()?;
        let what = What::Job(JobSettings::from_json(options)?);
        self.plan(Planned { name: String::new(), what })
    }

    fn plan(&self, planned: Planned) -> Result<u32> {
        match &mut *self.0.state() {
            State::Made { endpoints, .. } => {
                endpoints.push(planned);
                Ok(u32::try_from(endpoints.len() - 1).unwrap_or(u32::MAX))
            }
            _ => Err(started("add endpoints, subscribers and jobs before it is started")),
        }
    }

    /// Listens, registers and serves. Tells [`EventKind::Opened`] when callers may come (payload: the registry record as
    /// JSON), [`EventKind::Call`] for each call, all with `token`, and ends in one [`EventKind::End`]: with an error when it
    /// could not start. Cancelling the returned id stops it at once; [`Server::stop`] stops it in order.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` when it was started before; [`Status::CLOSED`](crate::Status::CLOSED),
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn start(&self, queue: &Arc<Queue>, token: u64) -> Result<Id> {
        let serving = &self.0;
        serving.shared.open()?;
        let (settings, endpoints) = {
            let mut state = serving.state();
            match std::mem::replace(&mut *state, State::Starting) {
                State::Made { settings, endpoints } => (settings, endpoints),
                other => {
                    *state = other;
                    return Err(started("make a new one"));
                }
            }
        };
        let host = Host { shared: serving.shared.clone(), queue: queue.clone(), token };
        let weak: Weak<Serving> = Arc::downgrade(serving);
        serving.shared.adopt_server(weak);
        let operation = Operation::new(queue, token, IdKind::Operation, EventKind::End);
        operation.begin(&serving.shared, |end| {
            let (serving, teller) = (serving.clone(), end.teller());
            async move {
                let _over = Over(serving.clone());
                let service = match start(&serving, *settings, endpoints, &host).await {
                    Ok(service) => service,
                    Err(error) => return error.into(),
                };
                let record = serde_json::to_vec(&*service.record()).unwrap_or_default();
                teller.tell(EventKind::Opened, |event| {
                    event.flags = flags::JSON;
                    event.payload = Bytes::from(record);
                });
                serving.stop.cancelled().await;
                match service.stop().await {
                    Ok(()) => Ending::default(),
                    Err(error) => error.into(),
                }
            }
        })
    }

    /// Stops in order: deregisters, serves on until callers have heard of it, finishes running calls within the grace of
    /// its settings. [`EventKind::End`] tells when that is done. Harmless when repeated; a service that never started is
    /// only marked as over.
    ///
    /// # Errors
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn stop(&self) -> Result<()> {
        self.0.shared.check()?;
        self.0.request_stop();
        Ok(())
    }

    /// Says whether a service is ready, as health checks ask; an empty name is the whole server.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` while it does not run; [`Status::FORKED`](crate::Status::FORKED).
    pub fn set_health(&self, service: &str, serving: bool) -> Result<()> {
        self.running(|running, _| running.server().health().set(service, serving))
    }

    /// A client that shares the service's registry and calls in its name.
    ///
    /// # Errors
    /// As [`Server::set_health`].
    pub fn client(&self) -> Result<Client> {
        self.running(|_, client| client.clone())
    }

    fn running<R>(&self, look: impl FnOnce(&Service, &Client) -> R) -> Result<R> {
        self.0.shared.check()?;
        match &*self.0.state() {
            State::Running(service, client) => Ok(look(service, client)),
            _ => Err(Error::failed_precondition(format!(
                "service {} does not run: wait for its OPENED event",
                self.0.name
            ))
            .into()),
        }
    }
}

impl Stop for Serving {
    fn stop_by(self: Arc<Self>, until: Instant) -> BoxFuture<'static, ()> {
        self.request_stop();
        Box::pin(async move {
            let _ = tokio::time::timeout_at(until, self.ended.cancelled()).await;
        })
    }
}

impl Serving {
    fn request_stop(&self) {
        self.stop.cancel();
        let mut state = self.state();
        if matches!(*state, State::Made { .. }) {
            *state = State::Over;
            self.ended.cancel();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a service as over, however its task ends.
struct Over(Arc<Serving>);

impl Drop for Over {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *self.0.state(), State::Over);
        self.0.ended.cancel();
        drop(before);
    }
}

async fn start(
    serving: &Arc<Serving>,
    settings: Told,
    endpoints: Vec<Planned>,
    host: &Host,
) -> micro::Result<Arc<Service>> {
    let once = settings.once.then(|| serving.stop.clone());
    let mut builder = settings.builder(&serving.name)?;
    for (number, planned) in endpoints.into_iter().enumerate() {
        let method = u32::try_from(number).unwrap_or(u32::MAX);
        builder = planned.add(builder, (&serving.name, method), host.clone())?;
    }
    if let Some(served) = once {
        builder = builder.once(served);
    }
    let service = tokio::select! {
        started = builder.start() => Arc::new(started?),
        () = serving.stop.cancelled() => {
            return Err(Error::cancelled("the service was stopped before it had started"));
        }
    };
    let client = Client::of(serving.shared.clone(), &service);
    *serving.state() = State::Running(service.clone(), client);
    Ok(service)
}

fn explanation(name: &str, options: &str) -> Result<Explanation> {
    Ok(Told::read(options)?.builder(name)?.explain()?)
}

fn started(what: &str) -> Failure {
    Error::failed_precondition(format!("the service has been started: {what}")).into()
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish()
    }
}
