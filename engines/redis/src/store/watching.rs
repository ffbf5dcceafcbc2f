//! One watch: what the reader of all of them tells, and what it has missed.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use micro::store::{Changes, Event, Watch};
use micro::{Code, Error, Reason, Result};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::feed::{Feed, News};
use super::packed::{unpack, with_version};
use super::shared::Shared;
use super::told::{Told, What};

/// Changes that are asked for at once.
const MOST: usize = 256;

/// A watch of a store.
pub(super) struct Watching {
    shared: Arc<Shared>,
    watch: Watch,
    /// `database/table/`
    place: String,
    news: broadcast::Receiver<News>,
    /// Version of the last change that was looked at.
    seen: u64,
    /// There may be changes that are not told any more.
    is_behind: bool,
    /// Changes that are still to be looked at.
    ahead: VecDeque<Arc<Told>>,
}

impl Watching {
    pub(super) async fn begin(shared: Arc<Shared>, feed: &Arc<Feed>, watch: Watch) -> Result<Self> {
        // First, so that nothing is missed.
        let news = feed.listen(&shared);
        let version = shared.version().await?;
        let seen = watch.after.unwrap_or(version).min(version);
        let place = format!("{}/", watch.place);
        let ahead = VecDeque::new();
        let mut watching = Self { shared, watch, place, news, seen, is_behind: true, ahead };
        if seen < version {
            watching.catch_up().await?;
            match watching.ahead.front() {
                Some(first) if first.before() == seen => {}
                _ => return Err(gone(seen)),
            }
        }
        Ok(watching)
    }

    async fn catch_up(&mut self) -> Result<()> {
        let found = self.shared.since(self.seen, MOST).await?;
        self.is_behind = found.len() == MOST;
        self.ahead = found.into_iter().filter_map(Told::read).map(Arc::new).collect();
        Ok(())
    }

    /// The key of a change that is watched.
    fn key<'name>(&self, told: &'name Told) -> Option<&'name str> {
        let name = std::str::from_utf8(&told.name).ok()?;
        name.strip_prefix(&self.place).filter(|key| key.starts_with(&self.watch.prefix))
    }

    /// What a change is to the one who watches; none where it was changed again meanwhile.
    async fn event(&self, told: &Told) -> Result<Option<Event>> {
        let Some(key) = self.key(told) else { return Ok(None) };
        let record = match &told.what {
            What::Begin(_) => return Ok(None),
            What::Delete => None,
            What::Write(rest) => Some(unpack(key, with_version(told.version, rest), None)?),
            What::Look(_) => match self.shared.read(&self.watch.place, key).await? {
                Some(record) if record.version == told.version => Some(record),
                _ => return Ok(None),
            },
        };
        Ok(Some(Event { key: key.to_owned(), version: told.version, record }))
    }
}

#[async_trait]
impl Changes for Watching {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            while let Some(told) = self.ahead.front().cloned() {
                if told.version > self.seen {
                    if told.before() != self.seen {
                        return Err(gone(self.seen));
                    }
                    let event = self.event(&told).await?;
                    self.seen = told.version;
                    if event.is_some() {
                        self.ahead.pop_front();
                        return Ok(event);
                    }
                }
                self.ahead.pop_front();
            }
            if self.is_behind {
                self.catch_up().await?;
                continue;
            }
            match self.news.recv().await {
                Ok(News::Since(version)) => self.is_behind = version > self.seen,
                Ok(News::Change(told)) if told.version <= self.seen => {}
                Ok(News::Change(told)) => match told.before() == self.seen {
                    true => self.ahead.push_back(told),
                    false => self.is_behind = true,
                },
                Ok(News::Lost(error)) => return Err(error),
                Err(RecvError::Lagged(_)) => self.is_behind = true,
                Err(RecvError::Closed) => {
                    return Err(self.shared.link.unreachable("the connection was lost"));
                }
            }
        }
    }
}

fn gone(seen: u64) -> Error {
    let text = format!(
        "changes after version {seen} are no longer known, or were lost by the server: list again and watch from there"
    );
    Error::new(Code::OutOfRange, text).with_reason(Reason::HistoryGone)
}
