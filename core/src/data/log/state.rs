//! What the log's writer tells its readers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::format::Record;
use super::index::{Extent, Index, Position};
use super::segment::Segment;
use super::terms::Hidden;

/// Bytes of the newest records that are kept in memory, for those who follow closely.
const RECENT: usize = 8 << 20;

/// Everything that was written and may be read.
#[derive(Default)]
pub(super) struct State {
    /// Those that are full, by base.
    pub(super) full: BTreeMap<u64, Full>,
    /// The one that is written.
    pub(super) open: Option<Open>,
    topics: HashMap<Bytes, Topic>,
    /// Of topics some of whose records are not shown.
    pub(super) hidden: HashMap<Bytes, Arc<Hidden>>,
    /// Which topic's oldest recent record is the next to be forgotten, and how many bytes it has.
    recent: VecDeque<(Bytes, usize)>,
    recent_bytes: usize,
    /// Sequence number of the next record.
    pub(super) next: u64,
    /// Records before were removed.
    floor: u64,
}

/// A segment that is full.
pub(super) struct Full {
    pub(super) segment: Arc<Segment>,
    pub(super) extent: Extent,
}

/// The segment that is written.
pub(super) struct Open {
    pub(super) segment: Arc<Segment>,
    pub(super) index: Index,
    /// Bytes that may be read.
    pub(super) end: u64,
    /// Time of the last record.
    pub(super) time: u64,
}

/// What is known of a topic.
#[derive(Default)]
struct Topic {
    /// Sequence number behind that of its last record.
    next: u64,
    /// First and last base of neighbouring segments that have some of it.
    runs: Vec<(u64, u64)>,
    recent: VecDeque<Record>,
    /// All from here on are in `recent`.
    recent_from: u64,
    changed: Arc<Notify>,
}

/// Where the next records of a topic are.
pub(super) enum Found {
    /// There are none yet.
    Nothing,
    /// Here they are.
    Recent(Vec<Record>),
    /// In the segment that is written.
    Open(Arc<Segment>, Vec<Position>),
    /// In one that is full.
    Full(Arc<Segment>, Extent),
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl State {
    /// Says which topics a segment has, after all segments before it. `previous` is the base of the one before.
    pub(super) fn learn(&mut self, base: u64, previous: Option<u64>, index: &Index) {
        for (topic, last) in index.topics() {
            let topic = self.topics.entry(topic.clone()).or_default();
            topic.next = base + u64::from(last) + 1;
            topic.recent_from = topic.next;
            topic.extend(base, previous);
        }
    }

    /// Shows records to readers.
    pub(super) fn show(&mut self, records: Vec<(u32, Record)>, end: u64) {
        let previous = self.full.keys().next_back().copied();
        let Some(open) = &mut self.open else { return };
        let base = open.segment.head.base;
        open.end = end;
        for (offset, record) in records {
            self.next = record.sequence + 1;
            open.time = record.time;
            open.index.add_record(base, offset, &record);
            let topic = match self.topics.get_mut(&record.topic) {
                Some(topic) => topic,
                None => {
                    let name = Bytes::copy_from_slice(&record.topic);
                    self.topics.entry(name).or_default()
                }
            };
            topic.next = record.sequence + 1;
            topic.extend(base, previous);
            topic.changed.notify_waiters();
            let size = Record::size(record.topic.len(), record.body.len());
            self.recent.push_back((record.topic.clone(), size));
            self.recent_bytes += size;
            topic.recent.push_back(record);
        }
        while self.recent_bytes > RECENT && self.forget_oldest() {}
    }

    /// Forgets the oldest record that is in memory, if there is one.
    fn forget_oldest(&mut self) -> bool {
        let Some((topic, size)) = self.recent.pop_front() else { return false };
        self.recent_bytes -= size;
        if let Some(topic) = self.topics.get_mut(&topic)
            && let Some(record) = topic.recent.pop_front()
        {
            topic.recent_from = record.sequence + 1;
        }
        true
    }

    /// Puts a segment in the place of the one with the same base, which had others of its records.
    pub(super) fn replace(&mut self, full: Full) {
        self.forget_recent(full.extent.next);
        self.full.insert(full.extent.base, full);
    }

    /// Forgets records that are in memory and come before `before`: they may not be on the disk any more.
    fn forget_recent(&mut self, before: u64) {
        let oldest = |state: &Self| {
            let (topic, _) = state.recent.front()?;
            Some(state.topics.get(topic)?.recent.front()?.sequence)
        };
        while oldest(self).is_some_and(|sequence| sequence < before) && self.forget_oldest() {}
    }

    /// What is left of the segment that is written after a failure.
    pub(super) fn mend(&mut self, segment: Arc<Segment>, index: Index, end: u64) {
        if let Some(open) = &mut self.open {
            open.segment = segment;
            open.index = index;
            open.end = end;
        }
        self.recent.clear();
        self.recent_bytes = 0;
        for topic in self.topics.values_mut() {
            topic.recent.clear();
            topic.recent_from = topic.next;
        }
    }

    /// Where the records of `topic` from `from` on are, the first of them at least.
    pub(super) fn find(&self, topic: &[u8], from: u64, limit: Limit) -> Found {
        let from = from.max(self.floor);
        let Some(known) = self.topics.get(topic).filter(|topic| topic.next > from) else {
            return Found::Nothing;
        };
        if from >= known.recent_from {
            return Found::Recent(known.recent(from, limit));
        }
        self.find_on_disk(topic, from, limit.records)
    }

    /// As [`find`](Self::find), but not in memory.
    pub(super) fn find_on_disk(&self, topic: &[u8], from: u64, most: usize) -> Found {
        let Some(runs) = self.topics.get(topic).map(|topic| &topic.runs) else {
            return Found::Nothing;
        };
        // Of the runs, which are in order, those that end before are skipped; so is, of segments, whatever ends before.
        for (first, last) in runs {
            let found = self.full.range(first..=last).find(|(_, full)| full.extent.next > from);
            if let Some((_, full)) = found {
                return Found::Full(full.segment.clone(), full.extent);
            }
        }
        if let Some(open) = &self.open {
            let number = from.saturating_sub(open.segment.head.base) as u32;
            let positions = open.index.find(topic, number, most);
            if !positions.is_empty() {
                return Found::Open(open.segment.clone(), positions.to_vec());
            }
        }
        Found::Nothing
    }

    /// Base of the first segment that has a record of `time` or later.
    pub(super) fn first_segment_at(&self, time: u64) -> u64 {
        let full = self.full.iter().find(|(_, full)| full.extent.time >= time);
        let open = || self.open.as_ref().map_or(0, |open| open.segment.head.base);
        full.map_or_else(open, |(base, _)| *base)
    }

    /// Says when `topic` gets its next record, which may be the first; whoever waits looks again after it began to.
    pub(super) fn changed(&mut self, topic: &[u8]) -> Arc<Notify> {
        match self.topics.get(topic) {
            Some(topic) => topic.changed.clone(),
            None => {
                let topic = self.topics.entry(Bytes::copy_from_slice(topic)).or_default();
                topic.changed.clone()
            }
        }
    }

    /// Sequence number behind that of the last record of `topic`; 0 where there was none.
    pub(super) fn topic_next(&self, topic: &[u8]) -> u64 {
        self.topics.get(topic).map_or(0, |topic| topic.next)
    }

    /// Names of topics that have, or had, a record.
    pub(super) fn topic_names(&self) -> impl Iterator<Item = &Bytes> {
        self.topics.iter().filter(|(_, topic)| topic.next > 0).map(|(name, _)| name)
    }

    /// How many topics there are.
    pub(super) fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Whether there is such a topic.
    pub(super) fn has(&self, topic: &[u8]) -> bool {
        self.topics.contains_key(topic)
    }

    /// Base of the oldest segment.
    pub(super) fn first(&self) -> u64 {
        let full = self.full.keys().next().copied();
        full.or_else(|| Some(self.open.as_ref()?.segment.head.base)).unwrap_or_default()
    }

    pub(super) fn expendable(&self, bytes: u64, oldest: u64) -> u64 {
        let mut kept = self.open.as_ref().map_or(0, |open| open.end);
        let mut before = 0;
        for full in self.full.values().rev() {
            kept = kept.saturating_add(full.extent.length);
            if kept > bytes || full.extent.time < oldest {
                before = full.extent.next;
                break;
            }
        }
        before
    }

    pub(super) fn topics_ending_before(&self, prefix: &[u8], before: u64) -> Vec<Bytes> {
        let topics = self.topics.iter();
        topics
            .filter(|(name, topic)| name.starts_with(prefix) && (1..=before).contains(&topic.next))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Forgets a segment that is full.
    pub(super) fn forget(&mut self, base: u64) {
        if let Some(full) = self.full.remove(&base) {
            self.forget_recent(full.extent.next);
        }
        let oldest = self.full.keys().next().copied();
        let oldest = oldest.or_else(|| Some(self.open.as_ref()?.segment.head.base));
        let Some(oldest) = oldest else { return };
        self.floor = oldest;
        for topic in self.topics.values_mut() {
            topic.runs.retain_mut(|(first, last)| {
                *first = (*first).max(oldest);
                first <= last
            });
        }
    }
}

impl Topic {
    fn extend(&mut self, base: u64, previous: Option<u64>) {
        match self.runs.last_mut() {
            Some((_, last)) if *last == base => {}
            Some((_, last)) if Some(*last) == previous => *last = base,
            _ => self.runs.push((base, base)),
        }
    }

    fn recent(&self, from: u64, limit: Limit) -> Vec<Record> {
        let start = self.recent.partition_point(|record| record.sequence < from);
        let mut bytes = 0;
        let within = |record: &&Record| {
            bytes += Record::size(record.topic.len(), record.body.len());
            bytes <= limit.bytes
        };
        let mut records: Vec<_> =
            self.recent.range(start..).take(limit.records).take_while(within).cloned().collect();
        if records.is_empty() {
            records.extend(self.recent.get(start).cloned());
        }
        records
    }
}
