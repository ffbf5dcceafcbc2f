//! One watch.

use std::sync::Arc;

use async_trait::async_trait;
use micro::Result;
use micro::store::{Changes, Event, Watch};

use super::keys::end;
use super::packed::{unpack, version_of};
use super::shared::Shared;
use super::version::{place, revision, version};
use crate::proto::{self, DELETE};
use crate::watch::Raw;

/// A watch of a store.
pub(super) struct Watching {
    shared: Arc<Shared>,
    raw: Raw,
    /// Before the keys of the place.
    place: String,
    /// Changes up to here are not told.
    after: u64,
    /// Version of the last change that was looked at.
    seen: u64,
    /// The change that is being looked at.
    current: Option<proto::Event>,
}

impl Watching {
    pub(super) async fn begin(shared: Arc<Shared>, watch: Watch) -> Result<Self> {
        let place = shared.keys.place(&watch.place);
        let prefix = format!("{place}{}", watch.prefix);
        let (from, high) = (watch.after.map(revision), end(prefix.as_bytes()));
        let raw = Raw::begin(shared.link.clone(), prefix.into(), high, from).await?;
        let after = watch.after.unwrap_or(0);
        Ok(Self { shared, raw, place, after, seen: 0, current: None })
    }

    /// The version of a change. A deletion tells its revision alone, so that it is taken for the first one behind the change before it.
    fn version(&self, event: &proto::Event) -> u64 {
        let kv = event.kv.as_ref();
        let revision_of = kv.map_or(0, |kv| kv.mod_revision);
        match kv {
            Some(kv) if event.kind != DELETE => version_of(kv),
            _ if revision(self.seen) == revision_of => version(revision_of, place(self.seen) + 1),
            _ => version(revision_of, 0),
        }
    }

    /// What a change is to the one who watches; none where it was told before, or is over by now.
    async fn event(&mut self, version: u64) -> Result<Option<Event>> {
        let Some(event) = &self.current else { return Ok(None) };
        let kv = event.kv.as_ref().filter(|_| version > self.after);
        let key = kv.and_then(|kv| std::str::from_utf8(&kv.key).ok()?.strip_prefix(&self.place));
        let (Some(kv), Some(key)) = (kv, key) else { return Ok(None) };
        let key = key.to_owned();
        if event.kind == DELETE {
            return Ok(Some(Event { key, version, record: None }));
        }
        let packed = unpack(&key, kv)?;
        // Of one that is over, its end comes next.
        let record = self.shared.timed(packed).await?;
        Ok(record.map(|record| Event { key, version, record: Some(record) }))
    }
}

#[async_trait]
impl Changes for Watching {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if self.current.is_none() {
                self.current = Some(self.raw.next().await?);
            }
            let Some(current) = &self.current else { continue };
            let version = self.version(current);
            let event = self.event(version).await?;
            (self.seen, self.current) = (version, None);
            if event.is_some() {
                return Ok(event);
            }
        }
    }
}
