//! Topics of which the last message of each key is kept, whatever its age.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::broker::stored::{millis, terms};
use crate::data::log::{Kept, Limit, Log, Record, blocking};
use crate::error::Result;

/// Keys that are in memory, of one segment more at most.
const KEYS: usize = 1 << 18;
/// What is read at once.
const TOGETHER: Limit = Limit { records: 4096, bytes: 1 << 20 };

/// A key of a topic: hashes, of which two keys do not have the same.
type Key = [u64; 2];

/// Removes what is before `before`, but for the last message of each key of these topics; how many bytes that gave back.
///
/// What is read is what these topics have behind the messages in question, once for each 2^18 keys among those.
pub(super) async fn compact(log: &Arc<Log>, topics: &[String], before: u64) -> Result<u64> {
    let hashers = [RandomState::new(), RandomState::new()];
    let topics: Vec<_> =
        topics.iter().map(|topic| Bytes::copy_from_slice(topic.as_bytes())).collect();
    let mut segments = log.full_before(before).into_iter().peekable();
    let mut freed = 0;
    while let Some(first) = segments.peek().map(|range| range.start) {
        let mut latest = Latest { hashers: &hashers, found: vec![HashMap::new(); topics.len()] };
        let mut end = first;
        while let Some(range) = segments.next_if(|_| latest.len() < KEYS) {
            for (nth, topic) in topics.iter().enumerate() {
                latest.collect(log, nth, topic, range.start..range.end).await?;
            }
            end = range.end;
        }
        for (nth, topic) in topics.iter().enumerate() {
            latest.replace(log, nth, topic, end).await?;
        }
        let kept = latest.kept(&topics);
        let log = log.clone();
        freed += blocking(move || log.keep(first..end, &kept)).await??;
    }
    Ok(freed)
}

/// Numbers of the last message of each key so far, by topic.
struct Latest<'a> {
    hashers: &'a [RandomState; 2],
    found: Vec<HashMap<Key, u64>>,
}

impl Latest<'_> {
    fn len(&self) -> usize {
        self.found.iter().map(HashMap::len).sum()
    }

    /// The key of a message, and whether it is of no use any more; none of one without a key.
    fn key(&self, record: &Record) -> Result<Option<(Key, bool)>> {
        let (key, expires) = terms(&record.body)?;
        let is_over = expires.is_some_and(|expires| expires <= millis(SystemTime::now()));
        let key = key.map(|key| self.hashers.each_ref().map(|hasher| hasher.hash_one(&key)));
        Ok(key.map(|key| (key, is_over)))
    }

    /// Learns what has a number of `range`.
    async fn collect(
        &mut self,
        log: &Log,
        nth: usize,
        topic: &Bytes,
        range: std::ops::Range<u64>,
    ) -> Result<()> {
        let mut from = range.start;
        loop {
            let records = log.read(topic, from, TOGETHER).await?;
            for record in &records {
                if record.sequence >= range.end {
                    return Ok(());
                }
                match self.key(record)? {
                    Some((key, true)) => drop(self.found[nth].remove(&key)),
                    Some((key, false)) => drop(self.found[nth].insert(key, record.sequence)),
                    None => {}
                }
            }
            let Some(last) = records.last() else { return Ok(()) };
            from = last.sequence + 1;
        }
    }

    /// Forgets the messages of keys that have another from `from` on.
    async fn replace(&mut self, log: &Log, nth: usize, topic: &Bytes, from: u64) -> Result<()> {
        let mut from = from;
        while !self.found[nth].is_empty() {
            let records = log.read(topic, from, TOGETHER).await?;
            for record in &records {
                if let Some((key, _)) = self.key(record)? {
                    self.found[nth].remove(&key);
                }
            }
            let Some(last) = records.last() else { break };
            from = last.sequence + 1;
        }
        Ok(())
    }

    fn kept(self, topics: &[Bytes]) -> Kept {
        let numbers = self.found.into_iter().map(|found| found.into_values().collect());
        topics.iter().cloned().zip(numbers).collect()
    }
}
