//! Services whose handlers are a host's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use micro::server::Endpoint;
use micro::settings::{EndpointSettings, ServiceSettings};
use micro::{Error, Service, Shape};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::completion::Ending;
use crate::event::EventKind;
use crate::failure::{Failure, Result};
use crate::flags;
use crate::id::{Id, IdKind};
use crate::inbound::{Host, serve};
use crate::live::{self, Live};
use crate::operation::Operation;
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
    Made { settings: Box<ServiceSettings>, endpoints: Vec<Planned> },
    Starting,
    Running(Arc<Service>, Client),
    Over,
}

struct Planned {
    name: String,
    shape: Shape,
    settings: EndpointSettings,
}

impl Server {
    /// A service called `name`. `options` is a JSON document of [`ServiceSettings`], empty for the defaults.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for options that cannot be read; [`Status::CLOSED`](crate::Status::CLOSED),
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn new(runtime: &Runtime, name: &str, options: &str) -> Result<Self> {
        let shared = runtime.inside()?;
        shared.open()?;
        let settings = Box::new(ServiceSettings::from_json(options)?);
        Ok(Self(Arc::new(Serving {
            shared: shared.clone(),
            name: name.to_owned(),
            state: Mutex::new(State::Made { settings, endpoints: Vec::new() }),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            _live: Live::new(live::SERVER),
        })))
    }

    /// Adds an endpoint, `Type.Method` or `package.Type.Method`; returns the number by which events name it, from 0. `options` is a JSON document of
    /// [`EndpointSettings`]. A name that cannot be used is found out by the start.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for options that cannot be read, `FAILED_PRECONDITION` once it has been started,
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn method(&self, name: &str, shape: Shape, options: &str) -> Result<u32> {
        self.0.shared.check()?;
        let settings = EndpointSettings::from_json(options)?;
        match &mut *self.0.state() {
            State::Made { endpoints, .. } => {
                endpoints.push(Planned { name: name.to_owned(), shape, settings });
                Ok(u32::try_from(endpoints.len() - 1).unwrap_or(u32::MAX))
            }
            _ => Err(started("add endpoints before it is started")),
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
    settings: ServiceSettings,
    endpoints: Vec<Planned>,
    host: &Host,
) -> micro::Result<Arc<Service>> {
    let mut builder = settings.builder(&serving.name)?;
    for (number, planned) in endpoints.into_iter().enumerate() {
        let (host, method) = (host.clone(), u32::try_from(number).unwrap_or(u32::MAX));
        let endpoint = Endpoint::raw(&planned.name, planned.shape, move |request| {
            serve(host.clone(), method, request.into())
        });
        builder = builder.handle(planned.settings.apply(endpoint)?);
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
