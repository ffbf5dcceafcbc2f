//! Lists records, in parts that fit into an answer.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use micro::store::{Page, Query, Record};
use micro::{Code, Result};
use serde_json::Map;

use super::keys::{end, next};
use super::packed::{Packed, unpack};
use super::shared::{RANGE, Shared};
use crate::proto::{DESCEND, KeyValue, RangeRequest, RangeResponse};

/// Records that are asked for first, when nothing is known of their size.
const FIRST: usize = 16;
/// Records that are asked for at once, at most.
const MOST: usize = 500;
/// Leases that are asked for their time at once.
const AT_ONCE: usize = 16;

/// What is left of a list.
struct Walk<'a> {
    shared: &'a Shared,
    what: String,
    /// Before the keys of the place.
    place: String,
    query: &'a Query,
    low: Bytes,
    high: Bytes,
    is_over: bool,
}

impl Walk<'_> {
    /// The next records, at most `limit`; without their values where only keys matter.
    async fn next(&mut self, mut limit: usize, keys_only: bool) -> Result<Vec<KeyValue>> {
        self.is_over |= self.low >= self.high;
        if self.is_over {
            return Ok(Vec::new());
        }
        loop {
            let request = RangeRequest {
                key: self.low.clone(),
                range_end: self.high.clone(),
                limit: i64::try_from(limit).unwrap_or(i64::MAX),
                sort_order: if self.query.descending { DESCEND } else { 0 },
                keys_only,
                ..RangeRequest::default()
            };
            let answer: Result<RangeResponse> =
                self.shared.link.look(&self.what, RANGE, request).await;
            let range = match answer {
                // An answer of so many is too large.
                Err(error) if error.code() == Code::ResourceExhausted && limit > 1 => {
                    limit /= 4;
                    limit = limit.max(1);
                    continue;
                }
                answer => answer?,
            };
            self.is_over = !range.more;
            if let Some(last) = range.kvs.last() {
                match self.query.descending {
                    true => self.high = last.key.clone(),
                    false => self.low = next(&last.key),
                }
            }
            return Ok(range.kvs);
        }
    }

    /// The key of a record that is listed.
    fn key<'kv>(&self, kv: &'kv KeyValue) -> Option<&'kv str> {
        let key = std::str::from_utf8(&kv.key).ok()?.strip_prefix(&self.place)?;
        key.ends_with(&self.query.suffix).then_some(key)
    }

    /// Leaves out the first that are listed.
    async fn skip(&mut self) -> Result<()> {
        let mut left = self.query.offset;
        while left > 0 && !self.is_over {
            let limit = usize::try_from(left).unwrap_or(MOST).min(MOST);
            for kv in self.next(limit, true).await? {
                left -= u64::from(self.key(&kv).is_some());
            }
        }
        Ok(())
    }

    /// Whether another one is listed.
    async fn has_more(&mut self) -> Result<bool> {
        let mut limit = 1;
        while !self.is_over {
            let found = self.next(limit, true).await?;
            if found.iter().any(|kv| self.key(kv).is_some()) {
                return Ok(true);
            }
            limit = MOST;
        }
        Ok(false)
    }
}

impl Shared {
    pub(super) async fn list(&self, query: &Query) -> Result<Page> {
        let place = self.keys.place(&query.place);
        let begin = format!("{place}{}", query.prefix);
        let (mut low, mut high) = (Bytes::from(begin.clone()), end(begin.as_bytes()));
        if let Some(after) = &query.after {
            let after = Bytes::from(format!("{place}{after}"));
            match query.descending {
                true => high = high.min(after),
                false => low = low.max(next(&after)),
            }
        }
        let what = format!("to list {}", query.place);
        let mut walk = Walk { shared: self, what, place, query, low, high, is_over: false };
        walk.skip().await?;
        let (most, mut page) = (query.limit.min(Query::MOST), Page::default());
        let (mut bytes, mut limit) = (0, FIRST);
        while page.records.len() < most && bytes < Query::MOST_BYTES && !walk.is_over {
            let kvs = walk.next(limit.min(most - page.records.len()), false).await?;
            let Some(count) = Some(kvs.len()).filter(|count| *count > 0) else { break };
            let size = kvs.iter().map(|kv| kv.value.len()).sum::<usize>() / count + 1;
            let mut packed = Vec::with_capacity(count);
            for (at, kv) in kvs.iter().enumerate() {
                let Some(key) = walk.key(kv) else { continue };
                let one = unpack(key, kv)?;
                bytes += one.record.value.len();
                packed.push(one);
                if bytes >= Query::MOST_BYTES {
                    // The rest is for another page.
                    page.has_more = kvs[at + 1..].iter().any(|kv| walk.key(kv).is_some());
                    break;
                }
            }
            page.records.extend(self.with_time(packed).await?);
            limit = (Query::MOST_BYTES.saturating_sub(bytes) / size).clamp(1, MOST);
        }
        page.has_more = page.has_more || walk.has_more().await?;
        if query.keys_only {
            for record in &mut page.records {
                (record.value, record.metadata) = (Bytes::new(), Map::new());
            }
        }
        Ok(page)
    }

    /// Records with the time that is left of them, without those that are over.
    async fn with_time(&self, packed: Vec<Packed>) -> Result<Vec<Record>> {
        let asked = packed.into_iter().map(|packed| self.timed(packed));
        let timed: Vec<Option<Record>> =
            stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        Ok(timed.into_iter().flatten().collect())
    }

    /// A record with the time that is left of it; none where it is over.
    pub(super) async fn timed(&self, packed: Packed) -> Result<Option<Record>> {
        let Packed { mut record, life, lease } = packed;
        if lease == 0 {
            return Ok(Some(record));
        }
        let Some(left) = self.leases.left(lease).await? else { return Ok(None) };
        record.expires_in = Some(life.map_or(left, |life| left.min(life)));
        Ok(Some(record))
    }

    /// What comes next behind `before` in the keys of records, up to the next `/`, one after the other.
    pub(super) async fn names(&self, before: String) -> Result<BTreeSet<String>> {
        let (mut low, high) = (Bytes::from(before.clone()), end(before.as_bytes()));
        let mut names = BTreeSet::new();
        loop {
            let request = RangeRequest {
                key: low,
                range_end: high.clone(),
                limit: 1,
                keys_only: true,
                ..RangeRequest::default()
            };
            let range: RangeResponse =
                self.link.look("to say which tables there are", RANGE, request).await?;
            let found = range.kvs.first().and_then(|kv| std::str::from_utf8(&kv.key).ok());
            let name = found.and_then(|key| key.strip_prefix(&before)?.split_once('/'));
            let Some((name, _)) = name else { return Ok(names) };
            names.insert(name.to_owned());
            low = end(format!("{before}{name}/").as_bytes());
        }
    }
}
