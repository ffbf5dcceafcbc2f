//! Records in Redis: changed by a program that the server runs in one piece, listed by sorted sets, watched by a stream.

mod feed;
mod keys;
mod options;
mod packed;
mod scripts;
mod server;
mod shared;
mod told;
mod watching;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use micro::store::{
    Abilities, Batch, Changes, Condition, Page, Place, Query, Record, Store, Watch, What,
    check_key, conflict, stale,
};
use micro::{Error, Result};
use redis::ScriptInvocation;

use self::feed::Feed;
use self::options::Options;
use self::packed::{left, pack, unpack};
use self::shared::Shared;
use self::watching::Watching;

const NAME: &str = "redis";
/// What lives longer has no end: 3000 years.
const FOREVER: Duration = Duration::from_secs(100_000_000_000);

/// Store over Redis 7 and later, and Valkey. Clones are handles on the same connection.
///
/// A change is as safe as the server keeps all it is told: with `appendonly yes` and `appendfsync always`, it is on the disk when it is
/// acknowledged, whatever [`Level`](micro::store::Level) is asked for. A server that is replaced by a replica of it has lost what was not
/// copied yet, locks included: for locks that must not be held twice, whatever happens to one machine, use etcd or PostgreSQL. What
/// was lost is seen by its versions: those begin again above all earlier ones whenever the server is started or replaced, as long as
/// there were less than a million changes a second.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
}

impl RedisStore {
    /// As the URL `redis://`, or `rediss://` for TLS, and what follows says:
    /// `user:password@host:port/number?prefix=shop:&eviction=refused`. It connects when it is first used.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming what cannot be read.
    pub fn new(scheme: &'static str, rest: &str) -> Result<Self> {
        let options = Options::read(scheme, rest)?;
        Ok(Self { shared: Arc::new(Shared::new(options)), feed: Arc::default() })
    }
}

#[async_trait]
impl Store for RedisStore {
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
        self.shared.read(place, key).await
    }

    async fn apply(&self, batch: Batch) -> Result<Vec<u64>> {
        batch.check(self)?;
        let Shared { link, keys, scripts, .. } = &*self.shared;
        let mut call = keys.call(&scripts.apply);
        call.arg(batch.fences.len());
        for fence in &batch.fences {
            call.arg(&fence.lock).arg(format!("{:020}", fence.token));
        }
        for change in &batch.changes {
            add(&mut call, change)?;
        }
        let what = match &batch.changes[..] {
            [one] => format!("to change {} in {}", one.key, one.place),
            all => format!("{} changes", all.len()),
        };
        let answer: Vec<String> = link.run(&what, &call).await?;
        let odd = || Error::internal(format!("{} answers {answer:?}", link.address.shown()));
        let number = |text: &String| text.parse::<u64>().map_err(|_| odd());
        let index = |text: &String| text.parse::<usize>().map_err(|_| odd());
        match &answer[..] {
            [done, versions @ ..] if done == "done" => versions.iter().map(number).collect(),
            [conflicts, at, found] if conflicts == "conflict" => {
                let found = if found.is_empty() { 0 } else { number(found)? };
                Err(conflict(batch.changes.get(index(at)?).ok_or_else(odd)?, found))
            }
            [is_stale, at, newest] if is_stale == "stale" => {
                Err(stale(batch.fences.get(index(at)?).ok_or_else(odd)?, number(newest)?))
            }
            _ => Err(odd()),
        }
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let Shared { link, keys, scripts, .. } = &*self.shared;
        let Some((mut low, mut high)) = range(query) else { return Ok(Page::default()) };
        let index = keys.keys(&query.place);
        let records = keys.record(&query.place, "");
        let what = format!("to list {}", query.place);
        let (mut page, mut skip, mut room) = (Page::default(), query.offset, Query::MOST_BYTES);
        let limit = query.limit.min(Query::MOST);
        loop {
            let mut call = scripts.list.key(&index);
            call.arg(&records).arg(&low).arg(&high).arg(u8::from(query.descending));
            call.arg(&query.suffix).arg(skip).arg(limit - page.records.len()).arg(room);
            call.arg(u8::from(query.keys_only));
            type Answer = (u8, Bytes, u64, Vec<(String, Bytes, i64)>);
            let (more, resume, skipped, found): Answer = link.look_by(&what, &call).await?;
            skip = skipped;
            for (key, packed, millis) in found {
                room = room.saturating_sub(packed.len());
                page.records.push(unpack(&key, packed, left(millis))?);
            }
            if more == 1 || resume.is_empty() {
                page.has_more = more == 1;
                return Ok(page);
            }
            match query.descending {
                true => high = resume.to_vec(),
                false => low = resume.to_vec(),
            }
        }
    }

    async fn watch(&self, watch: Watch) -> Result<Box<dyn Changes>> {
        Ok(Box::new(Watching::begin(self.shared.clone(), &self.feed, watch).await?))
    }

    async fn databases(&self) -> Result<Vec<String>> {
        let places = self.shared.places().await?;
        let names = places.iter().filter_map(|place| place.split_once('/'));
        let mut names: Vec<String> = names.map(|(database, _)| database.to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let places = self.shared.places().await?;
        let names = places.iter().filter_map(|place| place.split_once('/'));
        let names = names.filter(|(name, _)| *name == database);
        Ok(names.map(|(_, table)| table.to_owned()).collect())
    }
}

fn add(call: &mut ScriptInvocation<'_>, change: &micro::store::Change) -> Result<()> {
    let (what, ttl, rest) = match &change.what {
        What::Write { value, metadata, ttl } => {
            let ttl = ttl.filter(|ttl| *ttl < FOREVER);
            let rest = pack(value, metadata, ttl.is_some())?;
            ("write", ttl.map_or(String::new(), |ttl| ttl.as_millis().to_string()), rest)
        }
        What::Delete => ("delete", String::new(), Vec::new()),
        What::Nothing => ("nothing", String::new(), Vec::new()),
    };
    let condition = match change.condition {
        Condition::Any => "any".to_owned(),
        Condition::Absent | Condition::Version(0) => "absent".to_owned(),
        Condition::Present => "present".to_owned(),
        Condition::Version(version) => format!("{version:016}"),
    };
    call.arg(what).arg(condition).arg(change.place.to_string()).arg(&change.key).arg(ttl).arg(rest);
    Ok(())
}

/// The lowest and the highest key that is asked for, as `ZRANGE … BYLEX` takes them; none where there cannot be one.
fn range(query: &Query) -> Option<(Vec<u8>, Vec<u8>)> {
    let bound = |sign: u8, key: &[u8]| [&[sign], key].concat();
    let prefix = query.prefix.as_bytes();
    let mut low = if prefix.is_empty() { b"-".to_vec() } else { bound(b'[', prefix) };
    let mut high = b"+".to_vec();
    if let Some((last, rest)) = prefix.split_last() {
        // No text has a byte of 255.
        high = bound(b'(', &[rest, &[last.saturating_add(1)]].concat());
    }
    match query.after.as_deref().map(str::as_bytes) {
        Some(after) if query.descending => {
            if after <= prefix {
                return None;
            }
            let is_within = prefix.is_empty() || after < &high[1..];
            high = if is_within { bound(b'(', after) } else { high };
        }
        Some(after) if after >= prefix => low = bound(b'(', after),
        _ => {}
    }
    Some((low, high))
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", &self.shared.link.address)
            .finish_non_exhaustive()
    }
}
