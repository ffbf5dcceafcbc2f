//! A broker without a server, whose messages are on the disk once they are published.
//!
//! Processes of one machine that name the same data folder share its topics. One of them owns the files and serves the others
//! through a socket in the folder; when it ends, another takes over, and nothing that was published is lost. Nothing is
//! replicated: this is for one machine.

mod admin;
mod command;
mod compact;
pub(crate) mod engine;
mod ids;
mod letters;
mod options;
mod progress;
pub(crate) mod publishing;
mod queue;
mod remote;
pub(crate) mod serve;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::sleep;

pub use self::admin::{
    Admin, Batch, DeadLetter, DeadLetters, Letters, Mark, Oldest, QueueState, Topic, Topics,
};
use self::admin::{Answer, Ask};
use self::engine::Taking;
use self::options::{ABILITIES, Options, Place};
use self::serve::{Serves, endpoints};
use super::{Abilities, Broker, Deliveries, Delivery, Memory, Message, Subscription};
use crate::client::Client;
use crate::data::{Link, Seat, Way, owner};
use crate::error::{Code, Error, Reach, Result};
use crate::registry::Registry;
use crate::server::Endpoint;
use crate::spelling::quoted;

/// How long a process waits before it looks again for a service that has gone elsewhere, and how often it looks.
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
    /// Where a broker with a name is found.
    registry: OnceLock<Arc<dyn Registry>>,
    /// Who calls a broker with a name, unless it is to be made.
    client: Option<Client>,
    seat: Seat,
    /// The way to a broker with a name.
    named: Mutex<Option<Arc<Way>>>,
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
        match &*self.shared.way().await? {
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
        let path = match &place {
            Place::Folder(path) => Some(path.clone()),
            Place::Default | Place::Named(_) => None,
        };
        let (seat, registry) = (Seat::new(path, options.terms()), OnceLock::new());
        let shared = Shared { place, registry, client, seat, named: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Asks the owner about the folder.
    async fn ask(&self, ask: Ask) -> Result<Answer> {
        let mut looks = NAMED_LOOKS;
        let mut way = self.shared.way().await?;
        loop {
            let failed = match &*way {
                Way::Own(own) => return own.messages.answer(ask).await,
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
        match self.shared.place {
            Place::Named(_) => {
                self.shared.named.lock().await.take();
                Ok(())
            }
            _ => self.shared.seat.close().await,
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
        self.seat.way(Some(broken)).await
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
        Ok(Way::Other(Link::named(client, name)))
    }

    /// The way that is known, or a new one.
    async fn way(&self) -> Result<Arc<Way>> {
        let Place::Named(name) = &self.place else { return self.seat.way(None).await };
        let mut way = self.named.lock().await;
        if let Some(known) = &*way {
            return Ok(known.clone());
        }
        let found = Arc::new(self.named(name)?);
        *way = Some(found.clone());
        Ok(found)
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
        let mut way = self.shared.way().await?;
        loop {
            let failed = match &*way {
                Way::Own(own) => return own.messages.publish(&message).await,
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
        let mut way = self.shared.way().await?;
        loop {
            match &*way {
                Way::Own(own) => {
                    let taking = own.messages.subscribe_for(subscription, process).await?;
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
