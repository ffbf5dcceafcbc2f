//! A store without a server, whose records are on the disk once they are written.

mod clock;
mod engine;
pub(crate) mod lazy;
mod logged;
mod pending;
mod remote;
pub(crate) mod serve;
mod tables;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use self::engine::Following;
use super::batch::Batch;
use super::query::{Page, Query};
use super::record::{Place, Record, check_key};
use super::watch::{Changes, Event, Watch};
use super::{Abilities, Store};
use crate::data::{Seat, Terms, Way};
use crate::error::{Code, Error, Reach, Result};

const ABILITIES: Abilities =
    Abilities { persists: true, transactions: true, watches: true, watches_from: true };

/// How often something is read again where the answer was lost.
const AGAIN: u32 = 5;

/// Store of the processes of this machine that name the same data folder. Clones are handles on the same one.
///
/// One of the processes owns the files and serves the others through a socket in the folder; when it ends, another takes over, and nothing
/// that was acknowledged is lost. Changes are records of the same log as the messages of a [durable broker](crate::broker::Durable) in
/// that folder, so that one sync makes both safe, and are then made in a table file beside it. A version is the number of the change in
/// that log. Records end by the clock of the machine. Nothing is replicated: this is for one machine.
#[derive(Clone)]
pub struct File {
    seat: Arc<Seat>,
}

impl File {
    /// The store of the data folder at `path`, which is made unless it is there. Nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { seat: Arc::new(Seat::new(Some(path.into()), Terms::default())) }
    }

    /// As the URL `file://` and what follows says.
    pub(super) fn from_url_path(rest: &str) -> Result<Self> {
        let wrong = |what: &str| Err(Error::invalid_argument(format!("file://{rest}: {what}")));
        let path = match rest {
            "" => None,
            path if path.contains('?') => return wrong("it has no options"),
            path if path.starts_with('/') => Some(PathBuf::from(path)),
            path => {
                let path = path.trim_start_matches("./");
                return wrong(&format!(
                    "a folder is an absolute path, after three slashes: file:///{path}"
                ));
            }
        };
        Ok(Self { seat: Arc::new(Seat::new(path, Terms::default())) })
    }

    /// Ends this process's part: another process may own the folder. Without, that happens when the last handle is dropped.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn close(&self) -> Result<()> {
        self.seat.close().await
    }

    /// The way to the records, in place of one that failed so: before anything was done, or while something was read, as often as `again`.
    async fn instead(&self, broken: &Arc<Way>, failed: Error, again: &mut u32) -> Result<Arc<Way>> {
        if failed.reach() != Reach::Never {
            if failed.code() != Code::Unavailable || *again == 0 {
                return Err(failed);
            }
            *again -= 1;
        }
        self.seat.way(Some(broken)).await
    }

    /// The way to the records.
    async fn way(&self) -> Result<Arc<Way>> {
        let way = self.seat.way(None).await?;
        match &*way {
            // After a failure of the disk; what is acknowledged is found when it is opened again.
            Way::Own(own) if own.records.is_closed() => self.seat.way(Some(&way)).await,
            _ => Ok(way),
        }
    }
}

#[async_trait]
impl Store for File {
    fn name(&self) -> &'static str {
        "file"
    }

    fn abilities(&self) -> Abilities {
        ABILITIES
    }

    async fn read(&self, place: &Place, key: &str) -> Result<Option<Record>> {
        check_key(key)?;
        let (mut again, mut way) = (AGAIN, self.way().await?);
        loop {
            let failed = match &*way {
                Way::Own(own) => return own.records.get().await?.read(place, key),
                Way::Other(link) => match remote::read(link, place, key).await {
                    Ok(record) => return Ok(record),
                    Err(error) => error,
                },
            };
            way = self.instead(&way, failed, &mut again).await?;
        }
    }

    async fn apply(&self, batch: Batch) -> Result<Vec<u64>> {
        batch.check(self)?;
        let (mut again, mut way) = (0, self.way().await?);
        loop {
            let failed = match &*way {
                Way::Own(own) => return own.records.get().await?.apply(batch).await,
                Way::Other(link) => match remote::apply(link, &batch).await {
                    Ok(versions) => return Ok(versions),
                    Err(error) => error,
                },
            };
            way = self.instead(&way, failed, &mut again).await?;
        }
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let (mut again, mut way) = (AGAIN, self.way().await?);
        loop {
            let failed = match &*way {
                Way::Own(own) => return own.records.get().await?.list(query.clone()).await,
                Way::Other(link) => match remote::list(link, query).await {
                    Ok(page) => return Ok(page),
                    Err(error) => error,
                },
            };
            way = self.instead(&way, failed, &mut again).await?;
        }
    }

    async fn watch(&self, watch: Watch) -> Result<Box<dyn Changes>> {
        let (mut again, mut way) = (AGAIN, self.way().await?);
        loop {
            let failed = match &*way {
                Way::Own(own) => {
                    let following = own.records.get().await?.watch(watch)?;
                    return Ok(Box::new(Owned { following, _way: way.clone() }));
                }
                Way::Other(link) => match remote::watch(link, &watch).await {
                    Ok(followed) => return Ok(Box::new(followed)),
                    Err(error) => error,
                },
            };
            way = self.instead(&way, failed, &mut again).await?;
        }
    }

    async fn databases(&self) -> Result<Vec<String>> {
        self.names(None).await
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        self.names(Some(database)).await
    }
}

impl File {
    async fn names(&self, database: Option<&str>) -> Result<Vec<String>> {
        let (mut again, mut way) = (AGAIN, self.way().await?);
        loop {
            let failed = match &*way {
                Way::Own(own) => {
                    return own.records.get().await?.names(database.map(str::to_owned)).await;
                }
                Way::Other(link) => match remote::names(link, database).await {
                    Ok(names) => return Ok(names),
                    Err(error) => error,
                },
            };
            way = self.instead(&way, failed, &mut again).await?;
        }
    }
}

/// A watch in the process that owns the folder, and goes on to own it.
struct Owned {
    following: Following,
    _way: Arc<Way>,
}

#[async_trait]
impl Changes for Owned {
    async fn next(&mut self) -> Result<Option<Event>> {
        self.following.next().await
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("folder", &self.seat.folder().ok()).finish()
    }
}
