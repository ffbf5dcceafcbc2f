//! A broker without a server, whose messages are on the disk once they are published.
//!
//! Processes of one machine that name the same data folder share its topics. One of them owns the files and serves the others
//! through a socket in the folder; when it ends, another takes over, and nothing that was published is lost. Nothing is
//! replicated: this is for one machine.

mod admin;
mod command;
mod engine;
mod ids;
mod letters;
mod options;
mod progress;
mod queue;
mod remote;
mod serve;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::{interval, sleep};
use tokio_util::task::AbortOnDropHandle;

pub use self::admin::{
    Admin, Batch, DeadLetter, DeadLetters, Letters, Mark, Oldest, QueueState, Topic, Topics,
};
use self::admin::{Answer, Ask};
use self::engine::{Engine, Taking};
use self::options::{ABILITIES, Options};
use self::remote::Remote;
use super::{Abilities, Broker, Deliveries, Delivery, Message, Subscription};
use crate::data::{Files, Folder, Socket};
use crate::error::{Code, Error, Reach, Result};
use crate::server::Server;
use crate::spelling::quoted;

/// How often what need not be kept is removed.
const TIDY: Duration = Duration::from_secs(30);
/// How long a process waits before it looks again for an owner that begins or ends at this moment, and how often it looks.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 150;
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
    folder: PathBuf,
    options: Options,
    way: Mutex<Option<Arc<Way>>>,
}

/// How messages of the folder are reached.
enum Way {
    Own(Own),
    Other(Remote),
}

/// The files are this process's. The server ends first, and the files last.
struct Own {
    _server: Server,
    _tidying: AbortOnDropHandle<()>,
    engine: Arc<Engine>,
}

impl Durable {
    /// The broker of the data folder at `path`, which is made unless it is there. Nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with(path.into(), Options::default())
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

    /// As the URL `durable://` and what follows says; without a path, it is the folder that `MICRO_DATA` names, or the user's.
    pub(super) fn from_url_path(rest: &str) -> Result<Self> {
        let (path, options) = Options::read(rest)?;
        let path = path.map_or_else(Folder::default_path, Ok)?;
        Ok(Self::with(path, options))
    }

    fn with(folder: PathBuf, options: Options) -> Self {
        Self { shared: Arc::new(Shared { folder, options, way: Mutex::default() }) }
    }

    /// Asks the owner about the folder.
    async fn ask(&self, ask: Ask) -> Result<Answer> {
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
            way = self.shared.way(Some(&way)).await?;
        }
    }

    /// Ends this process's part: what was published is written, and another process may own the folder. Without, that happens
    /// when the last handle is dropped.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn close(&self) -> Result<()> {
        let way = self.shared.way.lock().await.take();
        match way.as_deref() {
            Some(Way::Own(own)) => own.engine.close().await,
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// The way that is known, or a new one in place of `broken`.
    async fn way(&self, broken: Option<&Arc<Way>>) -> Result<Arc<Way>> {
        let mut way = self.way.lock().await;
        if let Some(known) = &*way
            && !broken.is_some_and(|broken| Arc::ptr_eq(broken, known))
        {
            return Ok(known.clone());
        }
        *way = None;
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
        Err(Error::unavailable(format!(
            "the owner of the data folder {} cannot be reached: {}",
            self.folder.display(),
            last.detail()
        )))
    }

    /// Owns the folder, or finds its owner. The error within is of one that begins or ends.
    async fn look(&self) -> Result<Result<Way>> {
        let (path, options) = (self.folder.clone(), self.options);
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
            let remote = Remote::new(socket)?;
            return Ok(remote.greet().await.map(|()| Way::Other(remote)));
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
        let (tidied, retention) = (engine.clone(), options.retention());
        let tidying = tokio::spawn(async move {
            let mut times = interval(TIDY);
            loop {
                times.tick().await;
                match tidied.tidy(retention).await {
                    Ok(0) => {}
                    Ok(freed) => tracing::info!(freed, "old messages were removed"),
                    Err(error) => tracing::warn!(%error, "old messages cannot be removed"),
                }
            }
        });
        let _tidying = AbortOnDropHandle::new(tidying);
        Ok(Ok(Way::Own(Own { _server: server, _tidying, engine })))
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

    async fn publish(&self, message: Message) -> Result<()> {
        message.check(self.name(), ABILITIES)?;
        let mut again = AGAIN;
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
            let was_lost = failed.code() == Code::Unavailable && message.id.is_some() && again > 0;
            if failed.reach() != Reach::Never && !was_lost {
                return Err(failed);
            }
            again -= u32::from(failed.reach() != Reach::Never);
            way = self.shared.way(Some(&way)).await?;
        }
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        subscription.check(self.name(), ABILITIES)?;
        let mut way = self.shared.way(None).await?;
        loop {
            match &*way {
                Way::Own(own) => {
                    let taking = own.engine.subscribe(subscription).await?;
                    return Ok(Box::new(Owned { taking, _way: way.clone() }));
                }
                Way::Other(remote) => match remote.subscribe(&subscription).await {
                    Ok(received) => return Ok(Box::new(received)),
                    Err(error) if error.code() != Code::Unavailable => {
                        return Err(error);
                    }
                    // Its owner has gone, so that nothing was subscribed.
                    Err(_) => way = self.shared.way(Some(&way)).await?,
                },
            }
        }
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
        f.debug_struct("Durable").field("folder", &self.shared.folder).finish_non_exhaustive()
    }
}
