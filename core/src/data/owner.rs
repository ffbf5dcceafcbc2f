//! Which process owns a data folder: this one, which serves all that is in it to the others, or one that is asked.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::{interval, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::disk::{Disk, Folder as Files};
use super::folder::Folder;
use super::link::{GREET, Greeting, Link, MAX_MESSAGE, SERVICE};
use super::log::{Settings, blocking};
use super::socket::{OWNER, Socket};
use super::terms::Terms;
use crate::broker::durable::engine::{Engine, Retention};
use crate::broker::durable::serve::served;
use crate::codec::Proto;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::fork;
use crate::server::{Endpoint, Server};
use crate::store::file::lazy::Lazy;
use crate::store::file::serve::endpoints;
use crate::transport::network::Network as _;

/// How often what need not be kept is removed.
const TIDY: Duration = Duration::from_secs(30);
/// How long a process waits before it looks again for an owner that begins or ends at this moment, and how often it looks.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 150;
/// How long the owner may take to say that it is there, and for how long one that did not is not asked again.
const PATIENCE: Duration = Duration::from_secs(3);
const SILENT: Duration = Duration::from_secs(1);

/// A place at a data folder. Nothing is opened before it is used.
pub(crate) struct Seat {
    /// The user's own without.
    path: Option<PathBuf>,
    terms: Terms,
    pub(crate) way: Mutex<Option<Arc<Way>>>,
    /// In which process: its generation and one, or 0 as long as nothing was opened.
    opened: AtomicU32,
    /// When the owner last gave no answer, and what is said of it.
    silent: std::sync::Mutex<Option<(Instant, Error)>>,
}

/// How what is in the folder is reached.
pub(crate) enum Way {
    Own(Own),
    Other(Link),
}

/// The files are this process's.
pub(crate) struct Own {
    pub(crate) messages: Arc<Engine>,
    pub(crate) records: Arc<Lazy>,
    serving: Option<Serving>,
    generation: u32,
}

/// The server ends first, and the files last.
struct Serving {
    _server: Server,
    _tidying: AbortOnDropHandle<()>,
    _records: Arc<Lazy>,
    _messages: Arc<Engine>,
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            // In a child of a fork: its threads are not here, and their locks stay locked.
            let (messages, records) = (self.messages.clone(), self.records.clone());
            std::mem::forget((self.serving.take(), messages, records));
        }
    }
}

impl Seat {
    pub(crate) fn new(path: Option<PathBuf>, terms: Terms) -> Self {
        let (opened, silent) = (AtomicU32::new(0), std::sync::Mutex::default());
        Self { path, terms, way: Mutex::default(), opened, silent }
    }

    /// Where it is.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` where the user's own folder is not known.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        self.path.clone().map_or_else(Folder::default_path, Ok)
    }

    /// The way that is known, or a new one in place of `broken`.
    pub(crate) async fn way(&self, broken: Option<&Arc<Way>>) -> Result<Arc<Way>> {
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
        let folder = self.folder()?;
        Err(Error::unavailable(format!(
            "the owner of the data folder {}, {}, cannot be reached: {}",
            folder.display(),
            owner(&folder),
            last.detail()
        )))
    }

    /// Ends this process's part.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) async fn close(&self) -> Result<()> {
        self.check_fork()?;
        let way = self.way.lock().await.take();
        match way.as_deref() {
            Some(Way::Own(own)) => {
                own.records.close().await;
                own.messages.close().await
            }
            _ => Ok(()),
        }
    }

    /// Refuses what a child of a fork has of its parent.
    fn check_fork(&self) -> Result<()> {
        let here = fork::generation() + 1;
        let opened = self.opened.compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed);
        match opened {
            Err(other) if other != here => Err(Error::failed_precondition(
                "this process is a fork of the one that used this durable broker or store, and cannot use what that has open: make it \
                 anew in the child",
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
        let (path, level, dedup) = (self.folder()?, self.terms.level, self.terms.dedup);
        let opened = blocking(move || -> Result<_> {
            let folder = Folder::open(&path)?;
            let files: Arc<dyn Disk> = Arc::new(Files::new(folder.path()));
            let owned = folder.try_own()?;
            let Some(owned) = owned else { return Ok((folder, None)) };
            let epoch = owned.epoch;
            let (settings, disk) = (Settings::default(), files.clone());
            let opened = Engine::open(disk, Some(owned), settings, level, dedup)?;
            Ok((folder, Some((opened, epoch, files))))
        });
        let (folder, opened) = opened.await??;
        let socket = Socket::within(folder.path())
            .map_err(|error| Error::failed_precondition(error.to_string()))?;
        let Some(((messages, recovery), epoch, files)) = opened else {
            if let Err(error) = socket.connect(OWNER).await.map(drop) {
                return Ok(Err(Error::unavailable(error.to_string())));
            }
            let link = Link::new(&socket)?;
            return match timeout(PATIENCE, link.greet()).await {
                Ok(Ok(())) => Ok(Ok(Way::Other(link))),
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
        let messages = Arc::new(messages);
        let records = Arc::new(Lazy::new(files, messages.log.clone()));
        let server = serve(&messages, &records, socket).await?;
        let tidying =
            tokio::spawn(tidy(messages.clone(), records.clone(), self.terms.retention.clone()));
        let serving = Serving {
            _server: server,
            _tidying: AbortOnDropHandle::new(tidying),
            _records: records.clone(),
            _messages: messages.clone(),
        };
        let generation = fork::generation();
        Ok(Ok(Way::Own(Own { messages, records, serving: Some(serving), generation })))
    }
}

/// Begins to serve; ends when what is returned is dropped.
async fn serve(messages: &Arc<Engine>, records: &Arc<Lazy>, socket: Socket) -> Result<Server> {
    let server = Server::builder(SERVICE).network(Arc::new(socket)).address(OWNER);
    let server = server.max_message_size(MAX_MESSAGE);
    let all = served(messages).into_iter().chain(endpoints(records));
    let server = all.fold(server, |server, one| server.handle(one));
    let greet = Endpoint::unary(GREET, |_: Context, Proto(Greeting {}): Proto<Greeting>| async {
        Ok(Proto(Greeting {}))
    });
    server.handle(greet).start().await
}

/// Removes what need not be kept, every now and then.
async fn tidy(messages: Arc<Engine>, records: Arc<Lazy>, retention: Retention) {
    let mut times = interval(TIDY);
    loop {
        times.tick().await;
        let freed = async {
            let before = messages.expendable(&retention);
            messages.remove_before(records.keep(before).await?, &retention).await
        };
        match freed.await {
            Ok(0) => {}
            Ok(freed) => tracing::info!(freed, "old messages were removed"),
            Err(error) => tracing::warn!(%error, "old messages cannot be removed"),
        }
    }
}

/// The process that owns a folder, in words.
pub(crate) fn owner(folder: &Path) -> String {
    match Folder::owner(folder) {
        Ok(Some(owner)) => owner.to_string(),
        _ => "another process".to_owned(),
    }
}
