//! A broker without a server, whose messages are on the disk once they are published.
//!
//! Processes of one machine that name the same data folder share its topics. One of them owns the files and serves the others
//! through a socket in the folder; when it ends, another takes over, and nothing that was published is lost. Nothing is
//! replicated: this is for one machine.

mod admin;
mod command;
mod compact;
mod engine;
mod ids;
mod letters;
mod options;
mod progress;
mod publishing;
mod queue;
mod remote;
mod serve;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::{interval, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

pub use self::admin::{
    Admin, Batch, DeadLetter, DeadLetters, Letters, Mark, Oldest, QueueState, Topic, Topics,
};
use self::admin::{Answer, Ask};
use self::engine::{Engine, Taking};
use self::options::{ABILITIES, Options, Place};
use self::remote::Remote;
use self::serve::{Serves, endpoints};
use super::{Abilities, Broker, Deliveries, Delivery, Memory, Message, Subscription};
use crate::client::Client;
use crate::data::{Files, Folder, OWNER, Socket};
use crate::error::{Code, Error, Reach, Result};
use crate::fork;
use crate::registry::Registry;
use crate::server::{Endpoint, Server};
use crate::spelling::quoted;
use crate::transport::network::Network as _;

/// How often what need not be kept is removed.
const TIDY: Duration = Duration::from_secs(30);
/// How long a process waits before it looks again for an owner that begins or ends at this moment, and how often it looks.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 150;
/// How long the owner may take to say that it is there, and for how long one that did not is not asked again.
const PATIENCE: Duration = Duration::from_secs(3);
const SILENT: Duration = Duration::from_secs(1);
/// The same of a service that has gone elsewhere.
const NAMED_LOOK: Duration = Duration::from_millis(100);
const NAMED_LOOKS: u32 = 50;
/// How often a message with an id is sent again where the answer was lost.
const AGAIN: u32 = 5;

/// Broker of the processes of this machine that name the same data folder. Clones are handles on the same one.
///
/// At least once: a message is delivered until its handler has succeeded, at most as often as the subscription allows, also when
/// processes die. Once [`publish`](Broker::publish) returns, the message is on the disk.
#[derive(Clone)]
pub struct Durable {
    shared: Arc<Shared>,
}

struct Shared {
    place: Place,
    options: Options,
    /// Where a broker with a name is found.
    registry: OnceLock<Arc<dyn Registry>>,
    /// Who calls a broker with a name, unless it is to be made.
    client: Option<Client>,
    way: Mutex<Option<Arc<Way>>>,
    /// In which process: its generation and one, or 0 as long as nothing was opened.
    opened: AtomicU32,
    /// When the owner last gave no answer, and what is said of it.
    silent: std::sync::Mutex<Option<(Instant, Error)>>,
}

/// How messages of the folder are reached.
enum Way {
    Own(Own),
    Other(Remote),
}

/// The files are this process's.
struct Own {
    engine: Arc<Engine>,
    serving: Option<Serving>,
    generation: u32,
}

/// The server ends first, and the files last.
struct Serving {
    _server: Server,
    _tidying: AbortOnDropHandle<()>,
    _engine: Arc<Engine>,
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            // In a child of a fork: its threads are not here, and their locks stay locked.
            std::mem::forget((self.serving.take(), self.engine.clone()));
        }
    }
}

impl Durable {
    /// The broker of the data folder at `path`, which is made unless it is there. Nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with(Place::Folder(path.into()), Options::default(), None)
    }

    /// The broker that the service `name` serves, for a team's machines that share one: `micro data serve --name`, or a service with
    /// [`endpoints`](Self::endpoints). `client` finds it, on its terms of TLS and metadata; the URL `durable://name` makes one, of the
    /// registry of the service or client that it belongs to. Nothing is replicated: the messages are on the one machine that serves them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what is no name of a service.
    pub fn named(client: Client, name: &str) -> Result<Self> {
        match Options::read(name)? {
            (place @ Place::Named(_), options) => Ok(Self::with(place, options, Some(client))),
            _ => Err(Error::invalid_argument(format!("{} is no name of a service", quoted(name)))),
        }
    }

    /// What a service has to [handle](crate::service::ServiceBuilder::handle) so that others reach this broker by its name, as
    /// `durable://name`. It is for one node at a time: two that serve different folders share nothing. There is no authentication yet: who
    /// can call the service can publish, subscribe and [drop](Admin). Give it TLS with client certificates, or a network of its own.
    pub fn endpoints(&self) -> [Endpoint; 3] {
        endpoints(self)
    }

    /// Makes this process the owner of the folder now, and not only when it is used.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` where another process is, naming it, or where the broker is a service's.
    pub async fn own(&self) -> Result<()> {
        let Some(folder) = self.shared.place.folder()? else {
            return Err(Error::failed_precondition("a broker with a name has no folder to own"));
        };
        match &*self.shared.way(None).await? {
            Way::Own(_) => Ok(()),
            Way::Other(_) => Err(Error::failed_precondition(format!(
                "{} is already open by {}",
                folder.display(),
                owner(&folder)
            ))),
        }
    }

    /// The broker of a URL such as `durable:///var/lib/shop?max_age=24h`, as [`broker::connect`](crate::broker::connect) reads it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for one that does not begin with `durable://` or that cannot be read.
    pub fn connect(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("durable://").ok_or_else(|| {
            Error::invalid_argument(format!("{}: it begins with durable://", quoted(url)))
        })?;
        Self::from_url_path(rest)
    }

    /// As the URL `durable://` and what follows says.
    pub(super) fn from_url_path(rest: &str) -> Result<Self> {
        let (place, options) = Options::read(rest)?;
        place.folder()?;
        Ok(Self::with(place, options, None))
    }

    fn with(place: Place, options: Options, client: Option<Client>) -> Self {
        let (registry, way) = (OnceLock::new(), Mutex::default());
        let (opened, silent) = (AtomicU32::new(0), std::sync::Mutex::default());
        let shared = Shared { place, options, registry, client, way, opened, silent };
        Self { shared: Arc::new(shared) }
    }

    /// Asks the owner about the folder.
    async fn ask(&self, ask: Ask) -> Result<Answer> {
        let mut looks = NAMED_LOOKS;
        let mut way = self.shared.way(None).await?;
        loop {
            let failed = match &*way {
                Way::Own(own) => return own.engine.answer(ask).await,
                Way::Other(remote) => match remote.ask(&ask).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                },
            };
            if failed.reach() != Reach::Never {
                return Err(failed);
            }
            way = self.shared.instead(&way, failed, &mut looks).await?;
        }
    }

    /// Ends this process's part: what was published is written, and another process may own the folder. Without, that happens
    /// when the last handle is dropped.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn close(&self) -> Result<()> {
        self.shared.check_fork()?;
        let way = self.shared.way.lock().await.take();
        match way.as_deref() {
            Some(Way::Own(own)) => own.engine.close().await,
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// The way in place of one that failed so, before anything was done.
    async fn instead(&self, broken: &Arc<Way>, failed: Error, looks: &mut u32) -> Result<Arc<Way>> {
        if let Place::Named(_) = self.place {
            // Its client finds where it is now.
            *looks = looks.checked_sub(1).ok_or(failed)?;
            sleep(NAMED_LOOK).await;
            return Ok(broken.clone());
        }
        self.way(Some(broken)).await
    }

    /// The way to the service of this name.
    fn named(&self, name: &str) -> Result<Way> {
        let client = match (&self.client, self.registry.get()) {
            (Some(client), _) => client.clone(),
            (None, Some(registry)) => Client::builder()
                .registry(registry.clone())
                .broker(Arc::new(Memory::new()))
                .build()?,
            (None, None) => {
                return Err(Error::failed_precondition(format!(
                    "durable://{name} is found in a registry, and this broker knows none: give it to a service or a client, or let it \
                     meet one"
                )));
            }
        };
        Ok(Way::Other(Remote::named(client, name)))
    }

    /// The way that is known, or a new one in place of `broken`.
    async fn way(&self, broken: Option<&Arc<Way>>) -> Result<Arc<Way>> {
        self.check_fork()?;
        let mut way = self.way.lock().await;
        if let Some(known) = &*way
            && !broken.is_some_and(|broken| Arc::ptr_eq(broken, known))
        {
            return Ok(known.clone());
        }
        *way = None;
        self.was_silent()?;
        let mut last = Error::unavailable("the data folder has no owner");
        for _ in 0..LOOKS {
            match self.look().await? {
                Ok(found) => {
                    let found = Arc::new(found);
                    *way = Some(found.clone());
                    return Ok(found);
                }
                Err(error) => last = error,
            }
            sleep(LOOK).await;
        }
        let folder = self.place.folder()?.unwrap_or_default();
        Err(Error::unavailable(format!(
            "the owner of the data folder {}, {}, cannot be reached: {}",
            folder.display(),
            owner(&folder),
            last.detail()
        )))
    }

    /// Refuses what a child of a fork has of its parent.
    fn check_fork(&self) -> Result<()> {
        let here = fork::generation() + 1;
        let opened = self.opened.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed);
        match opened {
            Err(other) if other != here => Err(Error::failed_precondition(
                "this process is a fork of the one that used this durable broker, and cannot use what that has open: make the \
                 broker anew in the child",
            )),
            _ => Ok(()),
        }
    }

    /// An owner that gave no answer a moment ago is not asked again.
    fn was_silent(&self) -> Result<()> {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        match &*silent {
            Some((at, error)) if at.elapsed() < SILENT => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// The owner holds the folder, and gives no answer: nothing else can own it until it has ended.
    fn is_silent(&self, folder: &Path) -> Error {
        let error = Error::unavailable(format!(
            "the owner of the data folder {}, {}, does not answer: it is stopped or hangs, and what it owns is taken over once \
             it has ended",
            folder.display(),
            owner(folder)
        ));
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        *silent = Some((Instant::now(), error.clone()));
        error
    }

    /// Owns the folder, or finds its owner. The error within is of one that begins or ends.
    async fn look(&self) -> Result<Result<Way>> {
        let (path, options) = match &self.place {
            Place::Named(name) => return self.named(name).map(Ok),
            place => (place.folder()?.unwrap_or_default(), self.options.clone()),
        };
        let retention = options.retention();
        let opened = crate::data::log::blocking(move || -> Result<_> {
            let folder = Folder::open(&path)?;
            let files = Arc::new(Files::new(folder.path()));
            let owned = folder.try_own()?;
            let Some(owned) = owned else { return Ok((folder, None)) };
            let epoch = owned.epoch;
            let opened = options.open(files, owned)?;
            Ok((folder, Some((opened, epoch))))
        });
        let (folder, opened) = opened.await??;
        let socket = Socket::within(folder.path())
            .map_err(|error| Error::failed_precondition(error.to_string()))?;
        let Some(((engine, recovery), epoch)) = opened else {
            if let Err(error) = socket.connect(OWNER).await.map(drop) {
                return Ok(Err(Error::unavailable(error.to_string())));
            }
            let remote = Remote::new(&socket)?;
            return match timeout(PATIENCE, remote.greet()).await {
                Ok(Ok(())) => Ok(Ok(Way::Other(remote))),
                Ok(Err(error)) if error.code() != Code::DeadlineExceeded => Ok(Err(error)),
                _ => Err(self.is_silent(folder.path())),
            };
        };
        let folder = folder.path().display();
        match recovery.torn_bytes {
            0 => {
                tracing::info!(%folder, epoch, records = recovery.records, "this process owns the data folder")
            }
            torn => tracing::warn!(%folder, epoch, records = recovery.records, torn,
                "this process owns the data folder; its last owner died while it wrote, and what it had not acknowledged was cut off"),
        }
        let engine = Arc::new(engine);
        let server = serve::serve(&engine, socket).await?;
        let tidied = engine.clone();
        let tidying = tokio::spawn(async move {
            let mut times = interval(TIDY);
            loop {
                times.tick().await;
                match tidied.tidy(&retention).await {
                    Ok(0) => {}
                    Ok(freed) => tracing::info!(freed, "old messages were removed"),
                    Err(error) => tracing::warn!(%error, "old messages cannot be removed"),
                }
            }
        });
        let serving = Serving {
            _server: server,
            _tidying: AbortOnDropHandle::new(tidying),
            _engine: engine.clone(),
        };
        let generation = fork::generation();
        Ok(Ok(Way::Own(Own { engine, serving: Some(serving), generation })))
    }
}

#[async_trait]
impl Broker for Durable {
    fn name(&self) -> &'static str {
        "durable"
    }

    fn abilities(&self) -> Abilities {
        ABILITIES
    }

    fn meet(&self, registry: &Arc<dyn Registry>) {
        if let Place::Named(_) = self.shared.place {
            let _ = self.shared.registry.set(registry.clone());
        }
    }

    async fn publish(&self, message: Message) -> Result<()> {
        message.check(self.name(), ABILITIES)?;
        let (mut again, mut looks) = (AGAIN, NAMED_LOOKS);
        let mut way = self.shared.way(None).await?;
        loop {
            let failed = match &*way {
                Way::Own(own) => return own.engine.publish(&message).await,
                Way::Other(remote) => match remote.publish(&message).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
            };
            // Without an id, published twice is worse than an error that says so.
            let was_lost = matches!(failed.code(), Code::Unavailable | Code::DeadlineExceeded)
                && message.id.is_some()
                && again > 0;
            if failed.reach() != Reach::Never && !was_lost {
                return Err(failed);
            }
            again -= u32::from(failed.reach() != Reach::Never);
            way = self.shared.instead(&way, failed, &mut looks).await?;
        }
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        self.deliver(subscription, std::process::id()).await
    }
}

impl Serves for Durable {
    async fn take(&self, message: Message) -> Result<()> {
        self.publish(message).await
    }

    async fn deliver(
        &self,
        subscription: Subscription,
        process: u32,
    ) -> Result<Box<dyn Deliveries>> {
        subscription.check(self.name(), ABILITIES)?;
        let mut looks = NAMED_LOOKS;
        let mut way = self.shared.way(None).await?;
        loop {
            match &*way {
                Way::Own(own) => {
                    let taking = own.engine.subscribe_for(subscription, process).await?;
                    return Ok(Box::new(Owned { taking, _way: way.clone() }));
                }
                Way::Other(remote) => match remote.subscribe(&subscription).await {
                    Ok(received) => return Ok(Box::new(received)),
                    // Its owner has gone, so that nothing was subscribed.
                    Err(error) if error.code() == Code::Unavailable => {
                        way = self.shared.instead(&way, error, &mut looks).await?;
                    }
                    Err(error) => return Err(error),
                },
            }
        }
    }

    async fn answer(&self, ask: Ask) -> Result<Answer> {
        self.ask(ask).await
    }
}

/// The process that owns a folder, in words.
fn owner(folder: &Path) -> String {
    match Folder::owner(folder) {
        Ok(Some(owner)) => owner.to_string(),
        _ => "another process".to_owned(),
    }
}

/// A subscription in the process that owns the folder, and goes on to own it.
struct Owned {
    taking: Taking,
    _way: Arc<Way>,
}

#[async_trait]
impl Deliveries for Owned {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        self.taking.next().await
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable").field("place", &self.shared.place).finish_non_exhaustive()
    }
}
