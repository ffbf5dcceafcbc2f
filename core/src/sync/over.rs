//! Lines that a store keeps.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{Contender, Entry, Locks, Move, Moves, Standing};
use crate::error::{Error, Reason, Result};
use crate::spelling::quoted;
use crate::store::{
    Batch, Change, Changes, Condition, Fence, Level, Place, Query, Record, Store, Watch,
};

/// The table of lines.
const TABLE: &str = "locks";
/// How long a line that none enters any more is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// Contenders of a line, at most.
const MAX_LINE: usize = 10_000;
/// How often one looks at a line of a store that tells nothing.
const LOOK: Duration = Duration::from_millis(250);

/// Locks over a store with [transactions](crate::store::Abilities::transactions): lines are records of the table `micro/locks`, and
/// their tokens are versions of the store.
pub fn over(store: Arc<dyn Store>) -> Arc<dyn Locks> {
    let place = Place::new(Place::default().database(), TABLE).unwrap_or_default();
    Arc::new(Over { store, place })
}

struct Over {
    store: Arc<dyn Store>,
    place: Place,
}

/// What is kept of a contender.
#[derive(Serialize, Deserialize)]
struct Kept {
    who: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    process: u64,
    ttl_ms: u64,
    since_ms: u64,
    /// The version that the record had first; it is that of the record until it is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<u64>,
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Kept {
    fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(Error::unexpected)
    }
}

impl Over {
    fn standing(&self, prefix: &str, record: &Record) -> Result<Standing> {
        let kept: Kept = serde_json::from_slice(&record.value).map_err(|error| {
            Error::new(
                crate::Code::DataLoss,
                format!(
                    "the record {} in {} is none of a lock ({error}): delete it",
                    quoted(&record.key),
                    self.place
                ),
            )
        })?;
        let contender = Contender {
            id: record.key.strip_prefix(prefix).unwrap_or_default().to_owned(),
            who: kept.who,
            note: kept.note,
            process: kept.process,
            ttl: Duration::from_millis(kept.ttl_ms),
        };
        Ok(Standing {
            contender,
            place: kept.place.unwrap_or(record.version),
            since: UNIX_EPOCH + Duration::from_millis(kept.since_ms),
            expires_in: record.expires_in.unwrap_or(Duration::MAX),
        })
    }
}

#[async_trait]
impl Locks for Over {
    fn name(&self) -> &str {
        self.store.name()
    }

    async fn enter(&self, line: &str, contender: &Contender) -> Result<Box<dyn Entry>> {
        if !self.store.abilities().transactions {
            return Err(Error::invalid_argument(format!(
                "the store `{}` makes one change at a time: locks need one with transactions",
                self.store.name()
            )));
        }
        let kept = Kept {
            who: contender.who.clone(),
            note: contender.note.clone(),
            process: contender.process,
            ttl_ms: contender.ttl.as_millis() as u64,
            since_ms: millis(SystemTime::now()),
            place: None,
        };
        let key = format!("{line}/{}", contender.id);
        // What all who enter write too, so that places have the order in which they are taken.
        let anchor = Change::write(self.place.clone(), line, "").expires_in(REMEMBERED);
        let entry = Change::write(self.place.clone(), key.clone(), kept.bytes()?)
            .only_if(Condition::Absent)
            .expires_in(contender.ttl);
        let asked = Instant::now();
        let versions =
            self.store.apply(Batch { changes: vec![anchor, entry], ..Batch::default() }).await?;
        let Some(&version) = versions.get(1) else {
            let name = self.store.name();
            return Err(Error::internal(format!("the store `{name}` says no version of a change")));
        };
        Ok(Box::new(Spot {
            store: self.store.clone(),
            place: self.place.clone(),
            key,
            kept,
            ttl: contender.ttl,
            first: version,
            version,
            until: asked + contender.ttl,
        }))
    }

    async fn leave(&self, line: &str, id: &str) -> Result<()> {
        let delete = Change::delete(self.place.clone(), format!("{line}/{id}"));
        // Should this be forgotten with the machine, the time to live ends it.
        let batch = Batch { level: Level::Written, ..delete.into() };
        self.store.apply(batch).await.map(drop)
    }

    async fn line(&self, line: &str) -> Result<Vec<Standing>> {
        let prefix = format!("{line}/");
        let mut query = Query::all(self.place.clone()).prefix(prefix.clone());
        let mut all = Vec::new();
        loop {
            let page = self.store.list(&query).await?;
            for record in &page.records {
                all.push(self.standing(&prefix, record)?);
            }
            if all.len() > MAX_LINE {
                return Err(Error::resource_exhausted(format!(
                    "more than {MAX_LINE} are in line for {}: have fewer ask for it at once",
                    quoted(line)
                )));
            }
            match page.records.last() {
                Some(last) if page.has_more => query.after = Some(last.key.clone()),
                _ => break,
            }
        }
        all.sort_by_key(|standing| standing.place);
        Ok(all)
    }

    async fn watch(&self, line: &str) -> Result<Box<dyn Moves>> {
        let prefix = format!("{line}/");
        if !self.store.abilities().watches {
            return Ok(Box::new(Looks));
        }
        let watch = Watch { place: self.place.clone(), prefix: prefix.clone(), after: None };
        Ok(Box::new(Watched { changes: self.store.watch(watch).await?, prefix }))
    }

    async fn fence(&self, line: &str, token: u64) -> Result<()> {
        // A change that changes nothing carries it there.
        let nothing = Change::check(self.place.clone(), line, Condition::Any);
        let fences = vec![Fence { lock: line.to_owned(), token }];
        self.store.apply(Batch { fences, ..nothing.into() }).await.map(drop)
    }
}

/// A record of one that is in line.
struct Spot {
    store: Arc<dyn Store>,
    place: Place,
    key: String,
    kept: Kept,
    ttl: Duration,
    first: u64,
    version: u64,
    until: Instant,
}

#[async_trait]
impl Entry for Spot {
    fn place(&self) -> u64 {
        self.first
    }

    fn until(&self) -> Instant {
        self.until
    }

    async fn renew(&mut self, holds_since: Option<SystemTime>) -> Result<bool> {
        self.kept.place = Some(self.first);
        if let Some(since) = holds_since {
            self.kept.since_ms = millis(since);
        }
        loop {
            let change = Change::write(self.place.clone(), self.key.clone(), self.kept.bytes()?)
                .only_if(Condition::Version(self.version))
                .expires_in(self.ttl);
            let asked = Instant::now();
            match self.store.apply(Batch { level: Level::Written, ..change.into() }).await {
                Ok(versions) => {
                    self.version = versions.first().copied().unwrap_or(self.version);
                    self.until = self.until.max(asked + self.ttl);
                    return Ok(true);
                }
                Err(error) if error.reason() == Some(Reason::Conflict) => {}
                Err(error) => return Err(error),
            }
            // Nobody else writes it: an earlier renewal was done whose answer was lost, or it is gone.
            match self.store.read(&self.place, &self.key).await? {
                Some(record) if record.version != self.version => self.version = record.version,
                _ => return Ok(false),
            }
        }
    }
}

struct Watched {
    changes: Box<dyn Changes>,
    prefix: String,
}

#[async_trait]
impl Moves for Watched {
    async fn next(&mut self) -> Result<Option<Move>> {
        let Some(event) = self.changes.next().await? else { return Ok(None) };
        let id = event.key.strip_prefix(&self.prefix).unwrap_or_default().to_owned();
        let expires_in = event.record.map(|record| record.expires_in.unwrap_or(Duration::MAX));
        Ok(Some(Move { id, expires_in }))
    }
}

/// Of a store that tells nothing: has its line looked at now and then.
struct Looks;

#[async_trait]
impl Moves for Looks {
    async fn next(&mut self) -> Result<Option<Move>> {
        sleep(LOOK).await;
        Ok(None)
    }
}

impl fmt::Debug for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Over").field(&self.store).finish()
    }
}
