//! The way up of a service: what it was given is checked, the server listens, the node is registered.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tracing::subscriber::NoSubscriber;

use super::address::Advertised;
use super::builder::ServiceBuilder;
use super::debug;
use super::handle::ServiceHandle;
use super::heartbeat::{Beat, Heartbeat, is_permanent};
use super::hook::{Check, Moment};
use super::signal::Signals;
use super::{STARTED, Service, not_started};
use crate::broker::{self, Consumer, Consumers, Subscriber};
use crate::error::{Error, Result};
use crate::jobs::{self, Board, Jobs, Place};
use crate::registry::{self, Guarded, Labels, Node, Registry as _};
use crate::settings::range;
use crate::store;
use crate::tasks;

/// Longest service name; it has to fit registries and paths.
const MAX_NAME: usize = 200;

/// Time to live of a registration, and how often it is renewed, unless set.
const TTL: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(30);

/// True where what is recorded is not seen.
fn has_no_subscriber() -> bool {
    tracing::dispatcher::get_default(|dispatch| dispatch.is::<NoSubscriber>())
}

impl ServiceBuilder {
    /// Starts, and serves until a signal or the shutdown token; then stops in order. A second
    /// signal ends the wait for running calls.
    ///
    /// # Errors
    /// As [`ServiceBuilder::start`] and [`Service::stop`].
    pub async fn run(mut self) -> Result<()> {
        self.is_program = true;
        let mut signals = if self.signals { Some(Signals::listen()?) } else { None };
        let shutdown = self.shutdown.clone().unwrap_or_default();
        let service = self.start().await?;
        let name = service.name().to_owned();
        let signal = async |signals: &mut Option<Signals>| match signals {
            Some(signals) => signals.next().await,
            None => std::future::pending().await,
        };
        tokio::select! {
            received = signal(&mut signals) => tracing::info!(service = name, received, "stopping"),
            () = shutdown.cancelled() => tracing::info!(service = name, "stopping"),
        }
        tokio::select! {
            stopped = service.stop() => stopped,
            received = signal(&mut signals) => Err(Error::cancelled(format!(
                "service {name} was ended by a second {received}: running calls were cut off"
            ))),
        }
    }

    /// Starts and registers.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a wrong name, option or endpoint, `UNAVAILABLE` when the address
    /// cannot be bound, whatever a start hook says, and what the registry says when it will never
    /// take this service; nothing is left running then. A registry that is down is no error: the
    /// service serves, and registers when it can.
    #[allow(
        clippy::print_stderr,
        reason = "one line for the person at the terminal, where nothing else would tell it"
    )]
    pub async fn start(mut self) -> Result<Service> {
        self = self.overruled()?;
        let name = self.name.clone();
        self.check_name()?;
        self.check()?;
        let (ttl, interval) = self.rhythm()?;
        let before = self.hooks.run(Moment::BeforeStart).await;
        before.map_err(|error| not_started(&name, &error))?;
        let registry = match (self.registry.take(), &self.registry_url) {
            (Some(registry), _) => registry,
            (None, Some(url)) => url.registry()?,
            (None, None) => registry::connect("auto")?,
        };
        let broker = match (self.broker.take(), &self.broker_url) {
            (Some(broker), _) => broker,
            (None, Some(url)) => url.broker()?,
            (None, None) => broker::connect(broker::DEFAULT)?,
        };
        let store = match (self.store.take(), &self.store_url) {
            (Some(store), _) => store,
            (None, Some(url)) => url.store()?,
            (None, None) => store::connect(store::DEFAULT)?,
        };
        tasks::check(&self.subscribers, &*broker)?;
        for subscriber in &self.subscribers {
            subscriber.subscription.check(broker.name(), broker.abilities())?;
        }
        let workers = self.subscribers.iter().filter(|subscriber| subscriber.is_task);
        let undertakers: Vec<Subscriber> = workers.map(tasks::undertaker).collect();
        self.subscribers.extend(undertakers);
        jobs::check(&self.jobs, broker.name(), broker.abilities())?;
        let client = self.client.registry(registry.clone()).broker(broker.clone());
        let client = client.store(store).build()?;
        let registry = Guarded::new(registry, self.register_limit);
        let record = registry::Service {
            name: name.clone(),
            version: self.version,
            ..registry::Service::default()
        };
        let record = Arc::new(ArcSwap::from_pointee(record));
        let handle = ServiceHandle { record: record.clone(), client: client.clone() };
        let home = self.server.home().clone();
        home.settle(handle);
        let board = Board::default();
        let server = self.server.standard(debug::cache(&client)).standard(debug::jobs(&board));
        let server = server.start().await?;
        match registry.ready().await {
            Err(error) if is_permanent(&error) => return Err(not_started(&name, &error)),
            Err(error) => tracing::warn!(service = name, %error, "the registry is not ready"),
            Ok(()) => {}
        }
        let id = self.id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let mut metadata = self.metadata;
        for (key, value) in [
            // What go-micro's nodes say of themselves; its clients go by `protocol`.
            ("protocol", "grpc"),
            ("server", "grpc"),
            ("transport", "grpc"),
            ("broker", broker.name()),
            ("registry", registry.name()),
            (registry::COMPACT, registry::COMPACT_VERSION),
        ] {
            metadata.insert(key.into(), value.into());
        }
        let advertised = Advertised::new(self.advertise.as_deref(), server.address());
        let address = advertised.resolved();
        if let Some(tls) = server.tls() {
            metadata.insert(registry::TLS.into(), "true".into());
            if let Some(name) = tls.name_beside(&address) {
                metadata.insert(registry::TLS_NAME.into(), name);
            }
        }
        let version = record.load().version.clone();
        // In go-micro's order, after the endpoints.
        let mut subscriptions: Vec<&Subscriber> =
            self.subscribers.iter().filter(|subscriber| !subscriber.internal).collect();
        subscriptions.sort_by(|a, b| b.topic().cmp(a.topic()));
        let subscriptions = subscriptions.into_iter().map(Subscriber::record);
        record.store(Arc::new(registry::Service {
            name: name.clone(),
            version: version.clone(),
            metadata: Labels::new(),
            endpoints: server.endpoints().iter().cloned().chain(subscriptions).collect(),
            nodes: vec![Node { id: format!("{name}-{id}"), address: address.clone(), metadata }],
        }));
        let check = (self.check.is_some() || self.probe.is_some()).then_some(Check {
            probe: self.probe,
            hook: self.check,
            limit: self.register_limit,
        });
        let heartbeat = Heartbeat::start(Beat {
            registry: registry.clone(),
            record: record.clone(),
            advertised,
            ttl,
            interval,
            check,
            health: server.health().clone(),
            registered_at: None,
        });
        let heartbeat = heartbeat.await.map_err(|error| not_started(&name, &error))?;
        let consumer = Consumer {
            broker,
            home,
            layers: Arc::new(self.message_layers),
            metrics: server.metrics().clone(),
            errors: self.message_errors,
        };
        let begun = async {
            let consumers = Consumers::begin(consumer.clone(), self.subscribers).await?;
            let node = format!("{name}-{id}");
            let place = Place { service: name.clone(), node, consumer, board };
            Ok((consumers, Jobs::begin(place, self.jobs).await?))
        };
        let (consumers, jobs) = match begun.await {
            Ok(begun) => begun,
            Err(error) => {
                heartbeat.stop().await;
                let _ = registry.deregister(&record.load_full()).await;
                return Err(not_started(&name, &error));
            }
        };
        if !self.quiet {
            let registry = registry.name();
            let told =
                format!("{name} {version} serves at {address} and registers with {registry}");
            tracing::info!(target: STARTED, "{told}");
            if self.is_program && has_no_subscriber() {
                eprintln!("{told}");
            }
        }
        let service = Service {
            name: name.clone(),
            record,
            server,
            client,
            registry,
            heartbeat: Mutex::new(Some(heartbeat)),
            consumers,
            jobs,
            hooks: self.hooks,
            propagation: self.propagation,
        };
        if let Err(error) = service.hooks.run(Moment::AfterStart).await {
            // Its own error matters more than what goes wrong on the way down.
            let _ = service.stop().await;
            return Err(not_started(&name, &error));
        }
        Ok(service)
    }

    /// Refuses options that make no sense, before anything is begun.
    fn check(&self) -> Result<()> {
        range::VERSION.text(&self.version)?;
        self.id.as_deref().map_or(Ok(()), |id| range::ID.text(id))?;
        range::PROPAGATION.time(self.propagation)?;
        self.server.check()?;
        self.client.check()
    }

    /// The time to live and the interval, where one may follow from the other. Of both, `None` is what zero means to
    /// go-micro: a node that is never forgotten, a registration that is never renewed.
    fn rhythm(&self) -> Result<(Option<Duration>, Option<Duration>)> {
        let set = |time: Duration| (!time.is_zero()).then_some(time);
        let interval = match (self.interval, self.ttl) {
            (Some(interval), _) => set(interval),
            (None, None | Some(Duration::ZERO)) => Some(INTERVAL),
            (None, Some(ttl)) => Some(INTERVAL.min(ttl / 2).max(Duration::from_millis(1))),
        };
        let ttl = match (self.ttl, interval) {
            (Some(ttl), _) => set(ttl),
            (None, Some(interval)) => Some(TTL.max(interval.saturating_mul(2))),
            (None, None) => None,
        };
        let wrong =
            |why: &str| Err(Error::invalid_argument(format!("service {}: {why}", self.name)));
        match (ttl, interval) {
            (Some(ttl), Some(interval)) if ttl <= interval && ttl != Duration::MAX => {
                wrong(&format!(
                    "register_ttl ({ttl:?}) is not longer than register_interval ({interval:?}): the node \
                 would be forgotten between two registrations; set a longer one, such as twice the \
                 interval"
                ))
            }
            (Some(ttl), None) if ttl != Duration::MAX => wrong(&format!(
                "register_interval is zero, so that no registration is renewed, and the node would be \
                 forgotten after its register_ttl ({ttl:?}): leave that out, or set it to zero, which \
                 never forgets"
            )),
            _ => Ok((ttl, interval)),
        }
    }

    fn check_name(&self) -> Result<()> {
        let usable = !self.name.is_empty()
            && self.name.len() <= MAX_NAME
            && self.name.split('.').all(|part| {
                !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        if usable {
            return Ok(());
        }
        Err(Error::invalid_argument(format!(
            "service name `{}`: use letters, digits, `-`, `_` and single dots, for example go.micro.srv.greeter",
            self.name
        )))
    }
}
