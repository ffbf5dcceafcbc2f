//! A simulated fleet: nodes that serve, callers that call, and what befalls them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use micro::server::Endpoint;
use micro::service::ServiceBuilder;
use micro::{Client, Context, Raw, Service};
use tokio::sync::watch;
use tokio::time::sleep;
use turmoil::Sim;

use super::lagging::Lagging;
use super::load::Load;
use super::network::Simulated;
use super::trace::{Event, Log, Trace};

/// Name of the service that all nodes serve.
pub(crate) const SERVICE: &str = "work";

/// Step of simulated time.
pub(crate) const TICK: Duration = ms(2);

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

type Act = Box<dyn FnOnce(&mut Sim<'static>)>;

/// A world of its own for one run.
pub(crate) struct World {
    sim: Sim<'static>,
    pub(crate) registry: Lagging,
    pub(crate) log: Log,
    acts: BTreeMap<Duration, Vec<Act>>,
}

/// The shape of a world.
pub(crate) struct Shape {
    pub(crate) seed: u64,
    /// Milliseconds that a packet takes.
    pub(crate) latency: Range<u64>,
    /// Milliseconds that the registry takes.
    pub(crate) lag: Range<u64>,
    /// How likely a packet is lost; what follows it on its connection never arrives.
    pub(crate) loss: f64,
    /// Simulated time after which a run is given up.
    pub(crate) limit: Duration,
}

impl Shape {
    pub(crate) fn of(seed: u64) -> Self {
        Self { seed, latency: 1..20, lag: 0..50, loss: 0.0, limit: Duration::from_secs(120) }
    }
}

impl World {
    pub(crate) fn new(shape: &Shape) -> Self {
        fastrand::seed(shape.seed);
        let sim = turmoil::Builder::new()
            .rng_seed(shape.seed)
            .simulation_duration(shape.limit)
            .min_message_latency(ms(shape.latency.start))
            .max_message_latency(ms(shape.latency.end))
            .fail_rate(shape.loss)
            .tick_duration(TICK)
            .tcp_capacity(4_096)
            .enable_random_order()
            .build();
        Self {
            sim,
            registry: Lagging::new(shape.lag.clone()),
            log: Log::default(),
            acts: BTreeMap::new(),
        }
    }

    /// Lets something befall the world at a moment.
    pub(crate) fn at(&mut self, moment: Duration, act: impl FnOnce(&mut Sim<'static>) + 'static) {
        self.acts.entry(moment).or_default().push(Box::new(act));
    }

    /// A node of the service, from now on.
    pub(crate) fn node(&mut self, name: &str) {
        self.node_with(name, |service| service);
    }

    /// A node whose service is set up further.
    pub(crate) fn node_with(
        &mut self,
        name: &str,
        set: impl Fn(ServiceBuilder) -> ServiceBuilder + 'static,
    ) {
        let (registry, log, host) = (self.registry.clone(), self.log.clone(), name.to_owned());
        self.sim.host(name, move || {
            let builder = set(service(&host, &registry, &log));
            async move {
                let _running = builder.start().await?;
                std::future::pending().await
            }
        });
    }

    /// A node that stops in order and starts anew whenever `restarts` changes.
    pub(crate) fn restarting(&mut self, name: &str, restarts: watch::Receiver<u32>) {
        let (registry, log, host) = (self.registry.clone(), self.log.clone(), name.to_owned());
        self.sim.host(name, move || {
            let (registry, log, host) = (registry.clone(), log.clone(), host.clone());
            let mut restarts = restarts.clone();
            async move {
                loop {
                    let running = service(&host, &registry, &log).start().await?;
                    log.write(Event::Note(format!("{host} serves")));
                    if restarts.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    running.stop().await?;
                    log.write(Event::Note(format!("{host} stopped")));
                }
            }
        });
    }

    /// A host that does something until it is done; the run ends when all of these are.
    pub(crate) fn client<F>(&mut self, name: &str, act: impl FnOnce(Client, Log) -> F + 'static)
    where
        F: Future<Output = micro::Result<()>> + 'static,
    {
        let (registry, log, host) = (self.registry.clone(), self.log.clone(), name.to_owned());
        self.sim.client(name, async move {
            act(client(&host, &registry)?, log).await?;
            Ok(())
        });
    }

    /// A host that calls the service; its calls are numbered from `first`.
    pub(crate) fn caller(&mut self, name: &str, first: u32, load: &Load) {
        let load = load.clone();
        self.client(name, move |client, log| async move {
            load.put_on(client, log, first).await;
            Ok(())
        });
    }

    /// Runs until every client is done, or panics.
    pub(crate) fn run(mut self) -> Trace {
        loop {
            let now = self.sim.elapsed();
            while let Some(entry) = self.acts.first_entry().filter(|entry| *entry.key() <= now) {
                for act in entry.remove() {
                    act(&mut self.sim);
                }
            }
            match self.sim.step() {
                Ok(true) => return self.log.read(),
                Ok(false) => {}
                Err(error) => panic!("the simulation failed: {error}"),
            }
        }
    }
}

/// A client as a host makes it.
fn client(host: &str, registry: &Lagging) -> micro::Result<Client> {
    Client::builder()
        .registry(Arc::new(registry.clone()))
        .network(Arc::new(Simulated(host.to_owned())))
        .dial_timeout(ms(300))
        // What the system's own limit on silence does elsewhere.
        .keepalive(ms(1_000))
        .build()
}

/// A service as a host makes it: `Work.Once` and `Work.Again` write down the number of the call
/// they were given, take a moment, and give it back.
fn service(host: &str, registry: &Lagging, log: &Log) -> ServiceBuilder {
    let endpoint = |name: &str| {
        let (host, log) = (host.to_owned(), log.clone());
        Endpoint::unary(name, move |_: Context, request: Raw| {
            let (node, log) = (host.clone(), log.clone());
            async move {
                let call = number(&request);
                log.write(Event::Ran { call, node });
                sleep(ms(fastrand::u64(0..60))).await;
                Ok(request)
            }
        })
    };
    Service::builder(SERVICE)
        .id(host)
        .address("0.0.0.0:0")
        .registry(Arc::new(registry.clone()))
        .network(Arc::new(Simulated(host.to_owned())))
        .handle(endpoint("Work.Once"))
        .handle(endpoint("Work.Again").idempotent())
}

/// The number of a call, from its message.
pub(crate) fn number(message: &Raw) -> u32 {
    std::str::from_utf8(&message.0).unwrap().parse().unwrap()
}
