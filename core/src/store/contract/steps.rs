//! What the cases are made of.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::Subject;
use crate::error::{Code, Error, Reason, Result};
pub(super) use crate::registry::contract::unique;
use crate::store::{
    Abilities, Batch, Change, Changes, Event, Page, Place, Query, Record, Store, Watch,
};

/// How long nothing comes before it is believed that nothing will.
pub(super) const QUIET: Duration = Duration::from_millis(300);

/// A table that no other case uses.
pub(super) fn place() -> Place {
    table("micro")
}

/// A table of a database that no other case uses.
pub(super) fn table(name: &str) -> Place {
    Place::new(&unique("contract"), name).expect("the name of a table")
}

impl Subject {
    pub(super) fn can(&self) -> Abilities {
        self.one.abilities()
    }

    async fn in_time<T>(&self, what: &str, done: impl Future<Output = Result<T>>) -> Result<T> {
        let done = timeout(self.patience, done).await;
        done.unwrap_or_else(|_| panic!("{what} ends in time"))
    }

    pub(super) async fn apply(&self, batch: impl Into<Batch>) -> Result<Vec<u64>> {
        self.in_time("a change", self.one.apply(batch.into())).await
    }

    /// The version that the record has now.
    pub(super) async fn change(&self, change: Change) -> u64 {
        let key = change.key.clone();
        let versions = self.apply(change).await;
        let versions = versions.unwrap_or_else(|error| panic!("{key:?} is changed: {error}"));
        assert_eq!(versions.len(), 1, "a change has a version");
        versions[0]
    }

    pub(super) async fn write(&self, place: &Place, key: &str, value: impl Into<Bytes>) -> u64 {
        self.change(Change::write(place.clone(), key, value)).await
    }

    /// What both handles read.
    pub(super) async fn read(&self, place: &Place, key: &str) -> Option<Record> {
        let one = self.read_at(&*self.one, place, key).await;
        let other = self.read_at(&*self.other, place, key).await;
        let timeless =
            |record: &Option<Record>| record.clone().map(|one| Record { expires_in: None, ..one });
        assert_eq!(timeless(&one), timeless(&other), "both handles read the same of {key:?}");
        other
    }

    pub(super) async fn read_at(
        &self,
        store: &dyn Store,
        place: &Place,
        key: &str,
    ) -> Option<Record> {
        let read = self.in_time("a read", store.read(place, key)).await;
        read.unwrap_or_else(|error| panic!("{key:?} can be read: {error}"))
    }

    /// The value, as text.
    pub(super) async fn text(&self, place: &Place, key: &str) -> Option<String> {
        let record = self.read(place, key).await?;
        Some(String::from_utf8(record.value.to_vec()).expect("the text that was written"))
    }

    pub(super) async fn list(&self, query: &Query) -> Page {
        let listed = self.in_time("a list", self.other.list(query)).await;
        listed.unwrap_or_else(|error| panic!("{query:?} can be listed: {error}"))
    }

    /// Keys of one page.
    pub(super) async fn keys(&self, query: &Query) -> Vec<String> {
        self.list(query).await.records.into_iter().map(|record| record.key).collect()
    }

    pub(super) async fn watch(&self, watch: Watch) -> Seen {
        let watched = self.in_time("a watch", self.other.watch(watch)).await;
        let changes = watched.unwrap_or_else(|error| panic!("changes can be watched: {error}"));
        Seen { changes, patience: self.patience, last: 0 }
    }
}

/// A watch of all that begins with `prefix`, from now on.
pub(super) fn watching(place: &Place, prefix: &str) -> Watch {
    Watch { place: place.clone(), prefix: prefix.to_owned(), after: None }
}

/// What a watch sees.
pub(super) struct Seen {
    changes: Box<dyn Changes>,
    patience: Duration,
    last: u64,
}

impl Seen {
    pub(super) async fn next(&mut self) -> Event {
        let next = timeout(self.patience, self.changes.next()).await;
        let next = next.unwrap_or_else(|_| panic!("a change is seen in time"));
        let next = next.unwrap_or_else(|error| panic!("a watch lasts: {error}"));
        let event = next.expect("a watch does not end by itself");
        assert!(
            event.version > self.last,
            "changes are seen once, in the order of versions: {event:?} after {}",
            self.last
        );
        if let Some(record) = &event.record {
            assert_eq!(record.key, event.key, "a change has the record of its key");
            assert_eq!(record.version, event.version, "a change has the version of its record");
        }
        self.last = event.version;
        event
    }

    /// The next change's key and what its value is now, `-` for none.
    pub(super) async fn next_text(&mut self) -> String {
        let event = self.next().await;
        let value = event.record.map_or_else(
            || "-".to_owned(),
            |record| String::from_utf8_lossy(&record.value).into_owned(),
        );
        format!("{}={value}", event.key)
    }

    /// Waits for a change, and gives up.
    pub(super) async fn give_up(&mut self, after: Duration) {
        let _ = timeout(after, self.changes.next()).await;
    }

    pub(super) async fn nothing(&mut self, promise: &str) {
        if let Ok(next) = timeout(QUIET, self.changes.next()).await {
            panic!("{promise}, but there came {next:?}");
        }
    }
}

/// The error of what was refused, which has this code and reason.
pub(super) fn refused<T: std::fmt::Debug>(
    result: Result<T>,
    code: Code,
    reason: Option<Reason>,
    promise: &str,
) -> Error {
    let error = match result {
        Ok(done) => panic!("{promise}, but it was done: {done:?}"),
        Err(error) => error,
    };
    assert_eq!(error.code(), code, "{promise}: {error}");
    if reason.is_some() {
        assert_eq!(error.reason(), reason, "{promise}: {error}");
    }
    error
}

/// The error of a change whose condition did not hold.
pub(super) fn conflict<T: std::fmt::Debug>(result: Result<T>, promise: &str) {
    refused(result, Code::Aborted, Some(Reason::Conflict), promise);
}
