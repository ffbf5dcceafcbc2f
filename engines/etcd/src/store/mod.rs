//! Records in etcd: a key each, changed by transactions, ended by leases, watched from any revision.

mod apply;
mod fence;
mod keys;
mod list;
mod packed;
mod plan;
mod shared;
mod version;
mod watching;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use micro::Result;
use micro::store::{
    Abilities, Batch, Changes, Page, Place, Query, Record, Store, Watch, check_key,
};

use self::packed::unpack;
use self::shared::{RANGE, Shared};
use self::watching::Watching;
use crate::options::Options;
use crate::proto::{RangeRequest, RangeResponse};

const NAME: &str = "etcd";

/// Store over etcd 3.4 and later. Clones are handles on the same connections.
///
/// What is acknowledged is on the disks of most servers of the cluster, whatever [`Level`](micro::store::Level) is asked for. What etcd
/// bounds is bounded here: a batch has 1.5 MiB in all, 128 changes and 128 conditions (one by a version counts as two or three), unless its
/// servers are told otherwise; more is refused with the reason `too_large`. A time to live is rounded up to seconds, 2 at least, and etcd
/// takes up to a second more; when its leader changes, it begins again. A list from the last key to the first makes its server read all
/// keys of the range.
///
/// A version, and so the token of a lock, is etcd's revision times 1024 and the place of the change in its batch. In a watch, a deletion
/// that was one of several changes of a batch may have a version below the one that its batch got for it, but above those of changes
/// before it.
#[derive(Clone)]
pub struct Etcd {
    shared: Arc<Shared>,
}

impl Etcd {
    /// As the URL `etcd://`, or `etcds://` for TLS, and what follows says:
    /// `user:password@host:port,host:port?prefix=/micro/store`. It connects when it is first used.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming what cannot be read.
    pub fn new(scheme: &'static str, rest: &str) -> Result<Self> {
        Ok(Self { shared: Arc::new(Shared::new(Options::read(scheme, rest)?)?) })
    }
}

#[async_trait]
impl Store for Etcd {
    fn name(&self) -> &'static str {
        NAME
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = Abilities::default();
        abilities.persists = true;
        abilities.transactions = true;
        abilities.watches = true;
        abilities.watches_from = true;
        abilities
    }

    async fn read(&self, place: &Place, key: &str) -> Result<Option<Record>> {
        check_key(key)?;
        let Shared { link, keys, .. } = &*self.shared;
        let request = RangeRequest { key: keys.record(place, key), ..RangeRequest::default() };
        let what = format!("to read {key} in {place}");
        let range: RangeResponse = link.look(&what, RANGE, request).await?;
        match range.kvs.first() {
            Some(kv) => self.shared.timed(unpack(key, kv)?).await,
            None => Ok(None),
        }
    }

    async fn apply(&self, batch: Batch) -> Result<Vec<u64>> {
        batch.check(self)?;
        self.shared.apply(&batch).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.shared.list(query).await
    }

    async fn watch(&self, watch: Watch) -> Result<Box<dyn Changes>> {
        Ok(Box::new(Watching::begin(self.shared.clone(), watch).await?))
    }

    async fn databases(&self) -> Result<Vec<String>> {
        let names = self.shared.names(self.shared.keys.records()).await?;
        Ok(names.into_iter().collect())
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let names = self.shared.names(self.shared.keys.database(database)).await?;
        Ok(names.into_iter().collect())
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("options", &self.shared.link.options).finish_non_exhaustive()
    }
}
