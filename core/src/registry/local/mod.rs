//! A registry for one machine without configuration, where multicast is blocked: a folder with one
//! small file per node.
//!
//! A file that outlives its process is the usual trouble with such folders. Here the process that
//! registers a node keeps its file locked, and the kernel gives the lock back however the process
//! ends; a file with a free lock is dead, and any process that meets it removes it. Every change is a new
//! file under a new name, locked before it becomes visible and never written again, so that "its
//! lock is free" stays true for ever and removing it cannot hit a live record.
//!
//! What is not refreshed in time is removed by its own process. No wall clock has a say: one that
//! is set forward makes no node older.

mod changes;
mod folder;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod record;
mod watch;

#[cfg(unix)]
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use self::folder::Folder;
use self::record::{Key, Owned, Reader};
use super::{Registry, Service, Watcher};
use crate::error::{Error, Result};
use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// Registry of the processes of one user on this machine. Unix only.
///
/// Clones are handles on the same registrations, which end with the last of them.
///
/// Several processes that use one folder see each other; by default that is
/// `$XDG_RUNTIME_DIR/micro/registry`, or `micro-<uid>/registry` in the folder for temporary files.
/// The folder belongs to the user, and files of other users in it are not believed.
#[derive(Clone)]
pub struct Local {
    shared: Arc<Shared>,
}

struct Shared {
    folder: Arc<Folder>,
    owned: Mutex<HashMap<Key, Owned>>,
    reader: Mutex<Reader>,
    watch: watch::Task,
    expiry: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Wakes the task that waits for the next expiry.
    sooner: Arc<Notify>,
}

impl Local {
    /// The registry in the user's own folder.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` when that folder belongs to another user or cannot be made.
    pub fn new() -> Result<Self> {
        Ok(Self::with_folder(Folder::of_user()?))
    }

    /// The registry in the folder `path`, which is made when it is missing.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the path is not absolute, `FAILED_PRECONDITION` when the folder
    /// belongs to another user or others may write to it.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self::with_folder(Folder::at(path.into())?))
    }

    /// The registry that `local://` followed by `path` means.
    pub(super) fn from_url_path(path: &str) -> Result<Self> {
        if path.is_empty() { Self::new() } else { Self::at(path) }
    }

    /// The folder with the records.
    pub fn path(&self) -> &Path {
        self.shared.folder.path()
    }

    fn with_folder(folder: Folder) -> Self {
        let folder = Arc::new(folder);
        Self {
            shared: Arc::new(Shared {
                folder,
                owned: Mutex::default(),
                reader: Mutex::default(),
                watch: Mutex::default(),
                expiry: Mutex::default(),
                sooner: Arc::default(),
            }),
        }
    }

    /// Runs file work where it holds up no other task.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.map_err(|error| {
            Error::unavailable("the runtime ended during a registry operation").with_source(error)
        })?
    }
}

impl Shared {
    fn owned(&self) -> MutexGuard<'_, HashMap<Key, Owned>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, service: Option<&str>) -> Result<Vec<Service>> {
        self.expire();
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(reader.read(&self.folder, service)?.services)
    }

    /// Removes what was not refreshed in time. The time until the next is due.
    fn expire(&self) -> Option<Duration> {
        let mut owned = self.owned();
        owned.retain(|_, owned| owned.left().is_none_or(|left| !left.is_zero()));
        owned.values().filter_map(Owned::left).min()
    }

    /// Starts the task that waits for expiry when none runs, also after its runtime ended.
    fn ensure_expiry(self: &Arc<Self>) {
        let mut expiry = self.expiry.lock().unwrap_or_else(PoisonError::into_inner);
        if expiry.as_ref().is_none_or(|task| task.is_finished())
            && let Ok(runtime) = Handle::try_current()
        {
            let task = expire(Arc::downgrade(self), Arc::clone(&self.sooner));
            *expiry = Some(AbortOnDropHandle::new(runtime.spawn(task)));
        }
    }
}

async fn expire(shared: Weak<Shared>, sooner: Arc<Notify>) {
    loop {
        let Some(held) = shared.upgrade() else { return };
        let Ok(next) = tokio::task::spawn_blocking(move || held.expire()).await else { return };
        let due = async {
            match next {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = sooner.notified() => {}
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("folder", &self.path()).finish()
    }
}

#[async_trait]
impl Registry for Local {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        service.validate()?;
        let service = service.clone();
        if ttl.is_some() {
            self.shared.ensure_expiry();
        }
        self.blocking(move |shared| {
            shared.folder.ensure()?;
            let mut owned = shared.owned();
            for node in &service.nodes {
                let record = Service { nodes: vec![node.clone()], ..service.clone() };
                let key = Key::of(&service.name, &service.version, &node.id);
                let known = owned.get_mut(&key);
                let after = known.as_ref().map(|known| known.written());
                let refreshed = match known {
                    Some(known) => known.refresh(&record, ttl)?,
                    None => false,
                };
                if !refreshed {
                    let fresh = Owned::write(&shared.folder, &key, record, ttl, after)?;
                    // The file it replaces goes as its owner is dropped, after this one came.
                    owned.insert(key, fresh);
                }
            }
            shared.sooner.notify_one();
            Ok(())
        })
        .await
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        let keys = service.nodes.iter().map(|node| (&service.name, &service.version, &node.id));
        let keys: Vec<Key> = keys.map(|(name, version, id)| Key::of(name, version, id)).collect();
        self.blocking(move |shared| {
            let mut owned = shared.owned();
            for key in &keys {
                owned.remove(key);
            }
            // Another process may hold them, as when a user cleans up by hand.
            record::remove(&shared.folder, &keys)
        })
        .await
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        let found = match watch::read(&self.shared.watch, name).await {
            Some(found) => found?,
            None => {
                let wanted = name.to_owned();
                let found = self.blocking(move |shared| shared.read(Some(&wanted)));
                found.await?
            }
        };
        if found.is_empty() { Err(Service::not_found(name)) } else { Ok(found) }
    }

    async fn list(&self) -> Result<Vec<Service>> {
        self.blocking(|shared| shared.read(None)).await
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        watch::join(&self.shared.folder, &self.shared.watch, service).await
    }

    fn name(&self) -> &'static str {
        "local"
    }
}
