//! A store inside this process.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::batch::{conflict, stale};
use super::record::check_key;
use super::{
    Abilities, Batch, Change, Changes, Condition, Event, Page, Place, Query, Record, Store, Watch,
    What,
};
use crate::error::{Code, Error, Reason, Result};
use crate::named::ByName;

/// Changes that a watch may be behind.
const HISTORY: usize = 4096;
/// How long a fence is remembered after its last use.
const FENCES: Duration = Duration::from_secs(24 * 60 * 60);

/// Stores that `memory://name` shares within this process, as long as they are held.
static NAMED: LazyLock<ByName<Shared>> = LazyLock::new(ByName::default);

/// Makes what this file shares in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&NAMED);
}

/// In a child of a fork.
pub(crate) fn in_child() {
    NAMED.begin_anew();
}

/// Store of this process. Clones are handles on the same records, which are gone with the last of them.
#[derive(Clone, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    records: Mutex<Records>,
    changed: Notify,
}

#[derive(Default)]
struct Records {
    tables: BTreeMap<Place, BTreeMap<String, Kept>>,
    /// What has an end, the next first.
    ends: BTreeSet<(Instant, Place, String)>,
    fences: HashMap<String, (u64, Instant)>,
    /// The last changes.
    history: VecDeque<(Place, Event)>,
    version: u64,
}

#[derive(Clone)]
struct Kept {
    value: Bytes,
    metadata: Map<String, Value>,
    version: u64,
    ends: Option<Instant>,
}

impl Memory {
    /// A store of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// The store of that name in this process, the same for all who name it while one of them holds it.
    pub fn named(name: &str) -> Self {
        Self { shared: NAMED.get(name) }
    }

    /// The records as they are at this moment.
    fn records(&self) -> MutexGuard<'_, Records> {
        let mut records = self.shared.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.expire(Instant::now()) {
            self.shared.changed.notify_waiters();
        }
        records
    }
}

impl Kept {
    fn record(&self, key: &str) -> Record {
        let left = self.ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        let (value, metadata) = (self.value.clone(), self.metadata.clone());
        Record { key: key.to_owned(), value, metadata, version: self.version, expires_in: left }
    }
}

impl Records {
    /// Removes what is over; true when something was.
    fn expire(&mut self, now: Instant) -> bool {
        let before = self.version;
        while let Some((ends, _, _)) = self.ends.first()
            && *ends <= now
            && let Some((_, place, key)) = self.ends.pop_first()
        {
            self.remove(&place, &key);
        }
        self.version > before
    }

    fn get(&self, place: &Place, key: &str) -> Option<&Kept> {
        self.tables.get(place)?.get(key)
    }

    fn remove(&mut self, place: &Place, key: &str) -> u64 {
        let Some(table) = self.tables.get_mut(place) else { return 0 };
        let Some(kept) = table.remove(key) else { return 0 };
        if table.is_empty() {
            self.tables.remove(place);
        }
        if let Some(ends) = kept.ends {
            self.ends.remove(&(ends, place.clone(), key.to_owned()));
        }
        self.note(place, key, None)
    }

    /// Counts a change, and tells it to those that watch.
    fn note(&mut self, place: &Place, key: &str, record: Option<Record>) -> u64 {
        self.version += 1;
        let event = Event { key: key.to_owned(), version: self.version, record };
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((place.clone(), event));
        self.version
    }

    /// Refuses a batch of which something does not hold. Conditions are about what was there before any of its changes.
    fn check(&mut self, batch: &Batch) -> Result<()> {
        let now = Instant::now();
        self.fences.retain(|_, (_, used)| now.duration_since(*used) < FENCES);
        for fence in &batch.fences {
            match self.fences.get(&fence.lock) {
                Some((newest, _)) if *newest > fence.token => return Err(stale(fence, *newest)),
                _ => {}
            }
        }
        for change in &batch.changes {
            let found = self.get(&change.place, &change.key).map_or(0, |kept| kept.version);
            let holds = match change.condition {
                Condition::Any => true,
                Condition::Absent => found == 0,
                Condition::Present => found > 0,
                Condition::Version(version) => found == version,
            };
            if !holds {
                return Err(conflict(change, found));
            }
        }
        for fence in &batch.fences {
            self.fences.insert(fence.lock.clone(), (fence.token, now));
        }
        Ok(())
    }

    fn change(&mut self, change: Change) -> u64 {
        let Change { place, key, what, .. } = change;
        let (value, metadata, ttl) = match what {
            What::Nothing => return 0,
            What::Delete => return self.remove(&place, &key),
            What::Write { value, metadata, ttl } => (value, metadata, ttl),
        };
        let ends = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        let mut kept = Kept { value, metadata, version: self.version + 1, ends };
        kept.version = self.note(&place, &key, Some(kept.record(&key)));
        let version = kept.version;
        let table = self.tables.entry(place.clone()).or_default();
        let before = table.insert(key.clone(), kept).and_then(|before| before.ends);
        if let Some(before) = before {
            self.ends.remove(&(before, place.clone(), key.clone()));
        }
        if let Some(ends) = ends {
            self.ends.insert((ends, place, key));
        }
        version
    }
}

#[async_trait]
impl Store for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn abilities(&self) -> Abilities {
        Abilities { persists: false, transactions: true, watches: true, watches_from: true }
    }

    async fn read(&self, place: &Place, key: &str) -> Result<Option<Record>> {
        check_key(key)?;
        Ok(self.records().get(place, key).map(|kept| kept.record(key)))
    }

    async fn apply(&self, batch: Batch) -> Result<Vec<u64>> {
        batch.check(self)?;
        let mut records = self.records();
        records.check(&batch)?;
        let versions = batch.changes.into_iter().map(|change| records.change(change)).collect();
        drop(records);
        self.shared.changed.notify_waiters();
        Ok(versions)
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let records = self.records();
        let Some(table) = records.tables.get(&query.place) else { return Ok(Page::default()) };
        let after = query.after.as_deref();
        let start = match after {
            Some(after) if !query.descending && after >= query.prefix.as_str() => {
                Bound::Excluded(after)
            }
            _ => Bound::Included(query.prefix.as_str()),
        };
        let within = |(key, _): &(&String, &Kept)| {
            key.starts_with(&query.prefix)
                && after.is_none_or(|after| !query.descending || key.as_str() < after)
        };
        let begun = table
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&query.prefix));
        let found: Box<dyn Iterator<Item = (&String, &Kept)>> = match query.descending {
            // The keys of a prefix are found from their first on.
            true => Box::new(begun.filter(within).collect::<Vec<_>>().into_iter().rev()),
            false => Box::new(begun),
        };
        let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let mut found =
            found.filter(|(key, _)| key.ends_with(&query.suffix)).skip(offset).peekable();
        let (mut page, mut bytes) = (Page::default(), 0);
        while page.records.len() < query.limit.min(Query::MOST)
            && bytes < Query::MOST_BYTES
            && let Some((key, kept)) = found.next()
        {
            let mut record = kept.record(key);
            if query.keys_only {
                (record.value, record.metadata) = (Bytes::new(), Map::new());
            }
            bytes += record.value.len();
            page.records.push(record);
        }
        page.has_more = found.peek().is_some();
        Ok(page)
    }

    async fn watch(&self, watch: Watch) -> Result<Box<dyn Changes>> {
        let records = self.records();
        let seen = watch.after.unwrap_or(records.version).min(records.version);
        records.since(seen).map(drop)?;
        drop(records);
        Ok(Box::new(Watching { store: self.clone(), watch, seen }))
    }

    async fn databases(&self) -> Result<Vec<String>> {
        let records = self.records();
        let names: BTreeSet<&str> = records.tables.keys().map(Place::database).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let records = self.records();
        let tables = records.tables.keys().filter(|place| place.database() == database);
        Ok(tables.map(|place| place.table().to_owned()).collect())
    }
}

impl Records {
    /// The changes after a version.
    fn since(&self, seen: u64) -> Result<impl Iterator<Item = &(Place, Event)>> {
        let first = self.version + 1 - self.history.len() as u64;
        if seen + 1 < first {
            let text = format!(
                "changes up to version {} are no longer known, and {seen} was the last that was seen: list again and watch from there",
                first - 1
            );
            return Err(Error::new(Code::OutOfRange, text).with_reason(Reason::HistoryGone));
        }
        Ok(self.history.iter().skip((seen + 1 - first) as usize))
    }
}

struct Watching {
    store: Memory,
    watch: Watch,
    /// Version of the last change that was looked at.
    seen: u64,
}

#[async_trait]
impl Changes for Watching {
    async fn next(&mut self) -> Result<Option<Event>> {
        let shared = self.store.shared.clone();
        loop {
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            let ends = {
                let records = self.store.records();
                for (place, event) in records.since(self.seen)? {
                    self.seen = event.version;
                    if *place == self.watch.place && event.key.starts_with(&self.watch.prefix) {
                        return Ok(Some(event.clone()));
                    }
                }
                records.ends.first().map(|(ends, _, _)| *ends)
            };
            match ends {
                None => changed.await,
                // What ends first is told when it does.
                Some(ends) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(ends) => {}
                },
            }
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}
