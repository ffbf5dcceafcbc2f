//! What all handles and watches of a store share, and what they ask the server for.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use micro::Result;
use micro::store::{Place, Record};
use redis::{cmd, pipe};

use super::keys::Keys;
use super::options::Options;
use super::packed::{ends, left, unpack};
use super::scripts::Scripts;
use super::server::Look;
use super::told::{Raw, id};
use crate::link::Link;

/// Places of which it is remembered that their records have ends.
const PLACES: usize = 256;

/// What all handles of a store share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) keys: Arc<Keys>,
    pub(super) scripts: Arc<Scripts>,
    /// Places whose records have ends, as far as it was seen.
    ends: RwLock<HashSet<Place>>,
}

impl Shared {
    pub(super) fn new(options: Options) -> Self {
        let keys = Arc::new(Keys::new(&options.prefix));
        let scripts = Arc::new(Scripts::new());
        let look = Look {
            keys: keys.clone(),
            scripts: scripts.clone(),
            may_evict: options.may_evict,
            has_warned: AtomicBool::new(false),
        };
        let link = Link::new(options.address, Some(Box::new(look)));
        Self { link, keys, scripts, ends: RwLock::default() }
    }

    pub(super) async fn read(&self, place: &Place, key: &str) -> Result<Option<Record>> {
        let what = format!("to read {key} in {place}");
        let name = self.keys.record(place, key);
        if self.has_ends(place) {
            return self.read_with_end(&what, &name, key).await;
        }
        let mut get = cmd("GET");
        get.arg(&name);
        let Some(found) = self.link.look::<Option<Bytes>>(&what, &get).await? else {
            return Ok(None);
        };
        match ends(&found) {
            true => {
                self.note_ends(place);
                self.read_with_end(&what, &name, key).await
            }
            false => unpack(key, found, None).map(Some),
        }
    }

    /// Whether a record of this place had an end when it was read. Then the others are asked for theirs at once.
    fn has_ends(&self, place: &Place) -> bool {
        self.ends.read().unwrap_or_else(PoisonError::into_inner).contains(place)
    }

    fn note_ends(&self, place: &Place) {
        let mut ends = self.ends.write().unwrap_or_else(PoisonError::into_inner);
        if ends.len() < PLACES {
            ends.insert(place.clone());
        }
    }

    async fn read_with_end(&self, what: &str, name: &str, key: &str) -> Result<Option<Record>> {
        let mut both = pipe();
        both.atomic().cmd("GET").arg(name).cmd("PTTL").arg(name);
        let (found, millis): (Option<Bytes>, i64) = self.link.ask_all(what, &both).await?;
        found.map(|found| unpack(key, found, left(millis))).transpose()
    }

    /// The last version.
    pub(super) async fn version(&self) -> Result<u64> {
        let mut get = cmd("GET");
        get.arg(&self.keys.version);
        let version: Option<u64> = self.link.look("to say its last version", &get).await?;
        Ok(version.unwrap_or(0))
    }

    /// At most `most` changes after a version.
    pub(super) async fn since(&self, version: u64, most: usize) -> Result<Vec<Raw>> {
        let mut range = cmd("XRANGE");
        range.arg(&self.keys.changes).arg(id(version.saturating_add(1))).arg("+");
        range.arg("COUNT").arg(most);
        self.link.look("to tell changes", &range).await
    }

    /// Removes what is over; how long it is until the next, where there is one.
    pub(super) async fn sweep(&self) -> Result<Option<Duration>> {
        loop {
            let script = self.keys.call(&self.scripts.sweep);
            let (count, next): (u64, i64) =
                self.link.look_by("to remove what is over", &script).await?;
            // There may be more.
            if count == 0 || next != 0 {
                return Ok(left(next));
            }
        }
    }

    /// The places that have records, sorted.
    pub(super) async fn places(&self) -> Result<Vec<String>> {
        self.sweep().await?;
        let mut range = cmd("ZRANGE");
        range.arg(&self.keys.places).arg(0).arg(-1);
        self.link.look("to say which tables there are", &range).await
    }
}
