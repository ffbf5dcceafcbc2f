//! How far a queue has come through its topic: which messages are settled, lent, waiting. Reads and writes nothing.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::time::Instant;

use crate::error::{Code, Error, Result};

/// Messages that are neither settled nor still to be read. With more, a queue reads on once some are settled.
pub(super) const MAX_PENDING: usize = 16_384;

/// Where a queue stands.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Number of the next message to be read.
    next: u64,
    /// Messages before, which are not settled.
    pending: BTreeMap<u64, Pending>,
    /// Those that can be lent, by priority.
    ready: BTreeSet<(Reverse<u8>, u64)>,
    /// Those that cannot be lent before a time.
    waiting: BTreeSet<(Instant, u64)>,
    /// Those that are lent, by the end of their lease.
    lent: BTreeSet<(Instant, u64)>,
    /// Messages of a key behind the one that comes first, which is lent, waits or is ready.
    keys: HashMap<Arc<str>, VecDeque<u64>>,
}

#[derive(Debug)]
struct Pending {
    /// How often it was lent.
    attempts: u32,
    key: Option<Arc<str>>,
    priority: u8,
    /// Not to be lent before.
    due: Option<Instant>,
    at: At,
    /// Why it failed last.
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Another of its key comes first.
    Behind,
    Ready,
    Waiting(Instant),
    Lent(Loan),
}

/// To whom a message is lent, for how long, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loan {
    pub(super) consumer: u64,
    pub(super) lease: Duration,
    pub(super) until: Instant,
}

/// What a message that was read says of when it may be lent.
#[derive(Debug, Default)]
pub(super) struct Terms {
    pub(super) key: Option<Arc<str>>,
    pub(super) priority: u8,
    pub(super) due: Option<Instant>,
}

/// A message that may be lent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) sequence: u64,
    /// How often it was lent before.
    pub(super) attempts: u32,
    /// Why it failed last.
    pub(super) reason: String,
}

/// Where a queue stands, as it is written down. A message that was lent or waited is delivered again.
#[derive(Clone, PartialEq, prost::Message)]
struct Written {
    #[prost(uint64, tag = "1")]
    next: u64,
    /// Each less the one before it, the first less nothing.
    #[prost(uint64, repeated, tag = "2")]
    pending: Vec<u64>,
    #[prost(uint32, repeated, tag = "3")]
    attempts: Vec<u32>,
    /// The queue is as if it had never been.
    #[prost(bool, tag = "15")]
    is_dropped: bool,
}

impl Progress {
    /// Begins with the message `next`.
    pub(super) fn starting(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Number of the next message to be read.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// How many messages are neither settled nor still to be read.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many messages can be lent now.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// A message was read: it can be lent from `due` on. One that was read before, of a queue that was written down, gets its key.
    pub(super) fn took(&mut self, sequence: u64, terms: Terms) {
        let Terms { key, priority, due } = terms;
        self.next = self.next.max(sequence + 1);
        let known = self.pending.remove(&sequence);
        let (attempts, reason) = known.map_or((0, String::new()), |known| {
            self.unplace(sequence, known.priority, known.at);
            (known.attempts, known.reason)
        });
        let at = match &key {
            Some(key) if self.keys.contains_key(key) => At::Behind,
            _ => due.map_or(At::Ready, At::Waiting),
        };
        if let Some(key) = &key {
            let behind = self.keys.entry(key.clone()).or_default();
            if at == At::Behind {
                behind.push_back(sequence);
            }
        }
        self.pending.insert(sequence, Pending { attempts, key, priority, due, at, reason });
        self.place(sequence, priority, at);
    }

    /// A message that need not be delivered was read.
    pub(super) fn skipped(&mut self, sequence: u64) {
        self.next = self.next.max(sequence + 1);
        self.settle(sequence);
    }

    /// The first that can be lent.
    pub(super) fn candidate(&self) -> Option<Candidate> {
        let (_, sequence) = *self.ready.first()?;
        let pending = self.pending.get(&sequence)?;
        Some(Candidate { sequence, attempts: pending.attempts, reason: pending.reason.clone() })
    }

    /// Lends one that can be lent; which attempt this is.
    pub(super) fn lend(&mut self, sequence: u64, loan: Loan) -> u32 {
        let Some(pending) = self.pending.get_mut(&sequence) else { return 0 };
        pending.attempts += 1;
        let attempt = pending.attempts;
        self.put(sequence, At::Lent(loan));
        attempt
    }

    /// Takes one back that was lent and never handed over.
    pub(super) fn unlend(&mut self, sequence: u64) {
        if let Some(pending) = self.pending.get_mut(&sequence) {
            pending.attempts = pending.attempts.saturating_sub(1);
            self.put(sequence, At::Ready);
        }
    }

    /// Whether this attempt is the one that is lent now: a verdict of an earlier one comes too late.
    pub(super) fn is_lent(&self, sequence: u64, attempt: u32) -> bool {
        self.pending
            .get(&sequence)
            .is_some_and(|pending| pending.attempts == attempt && matches!(pending.at, At::Lent(_)))
    }

    /// To whom this attempt is lent, if it is.
    pub(super) fn loan(&self, sequence: u64, attempt: u32) -> Option<Loan> {
        match self.pending.get(&sequence) {
            Some(Pending { at: At::Lent(loan), attempts, .. }) if *attempts == attempt => {
                Some(*loan)
            }
            _ => None,
        }
    }

    /// Begins the lease of one that is lent anew.
    pub(super) fn extend(&mut self, sequence: u64, now: Instant) {
        if let Some(Pending { at: At::Lent(loan), .. }) = self.pending.get(&sequence) {
            self.put(sequence, At::Lent(Loan { until: now + loan.lease, ..*loan }));
        }
    }

    /// Done with it.
    pub(super) fn settle(&mut self, sequence: u64) {
        let Some(pending) = self.pending.remove(&sequence) else { return };
        self.unplace(sequence, pending.priority, pending.at);
        let Some(key) = pending.key else { return };
        let Some(behind) = self.keys.get_mut(&key) else { return };
        if pending.at == At::Behind {
            behind.retain(|other| *other != sequence);
            return;
        }
        match behind.pop_front() {
            Some(next) => {
                let due = self.pending.get(&next).and_then(|pending| pending.due);
                self.put(next, due.map_or(At::Ready, At::Waiting));
            }
            None => {
                self.keys.remove(&key);
            }
        }
    }

    /// It is to be lent again, from `due` on.
    pub(super) fn retry(&mut self, sequence: u64, due: Option<Instant>, reason: String) {
        if let Some(pending) = self.pending.get_mut(&sequence) {
            pending.reason = reason;
            self.put(sequence, due.map_or(At::Ready, At::Waiting));
        }
    }

    /// All that is lent to a consumer can be lent to another.
    pub(super) fn left(&mut self, consumer: u64) {
        let lent: Vec<u64> = self
            .lent
            .iter()
            .map(|(_, sequence)| *sequence)
            .filter(|sequence| match self.pending.get(sequence).map(|pending| pending.at) {
                Some(At::Lent(loan)) => loan.consumer == consumer,
                _ => false,
            })
            .collect();
        for sequence in lent {
            self.retry(sequence, None, "its consumer ended".to_owned());
        }
    }

    /// How much is lent to a consumer whose lease ended at `now`, and makes ready what waited until then.
    pub(super) fn advance(&mut self, now: Instant) -> Vec<u64> {
        while let Some((due, sequence)) = self.waiting.first().copied()
            && due <= now
        {
            self.put(sequence, At::Ready);
        }
        let mut lost = Vec::new();
        while let Some((until, sequence)) = self.lent.first().copied()
            && until <= now
        {
            if let Some(Pending { at: At::Lent(loan), .. }) = self.pending.get(&sequence) {
                lost.push(loan.consumer);
            }
            self.retry(sequence, None, "its consumer gave no sign of life".to_owned());
        }
        lost
    }

    /// When [`advance`](Self::advance) has something to do next.
    pub(super) fn next_time(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|(due, _)| *due);
        let lent = self.lent.first().map(|(until, _)| *until);
        waiting.into_iter().chain(lent).min()
    }

    /// How many messages are lent, and how many wait for their time.
    pub(super) fn away(&self) -> (usize, usize) {
        (self.lent.len(), self.waiting.len())
    }

    /// The first message that is not settled: its number, how often it was lent, and to whom it is.
    pub(super) fn oldest(&self) -> Option<(u64, u32, Option<u64>)> {
        let (sequence, pending) = self.pending.first_key_value()?;
        let consumer = match pending.at {
            At::Lent(loan) => Some(loan.consumer),
            _ => None,
        };
        Some((*sequence, pending.attempts, consumer))
    }

    /// As it is written down.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut last = 0;
        let pending = self.pending.keys().map(|sequence| {
            let step = sequence - last;
            last = *sequence;
            step
        });
        let pending = pending.collect();
        let attempts = self.pending.values().map(|pending| pending.attempts).collect();
        Written { next: self.next, pending, attempts, is_dropped: false }.encode_to_vec()
    }

    /// That the queue is as if it had never been, as it is written down.
    pub(super) fn dropped() -> Vec<u8> {
        Written { is_dropped: true, ..Written::default() }.encode_to_vec()
    }

    /// Whether that was written down.
    pub(super) fn is_dropped(bytes: &[u8]) -> bool {
        Written::decode(bytes).is_ok_and(|written| written.is_dropped)
    }

    /// What was written down. Messages that were not settled have to be read again: they are [`unread`](Self::unread).
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let lost = |_| Error::new(Code::DataLoss, "the progress of a queue cannot be read");
        let written = Written::decode(bytes).map_err(lost)?;
        let mut progress = Self::starting(written.next);
        let mut sequence = 0;
        for (step, attempts) in written.pending.into_iter().zip(written.attempts) {
            sequence += step;
            let (key, priority, due) = (None, 0, None);
            let (at, reason) = (At::Ready, String::new());
            let pending = Pending { attempts, key, priority, due, at, reason };
            progress.pending.insert(sequence, pending);
            progress.place(sequence, priority, at);
        }
        Ok(progress)
    }

    /// Numbers of messages that are not settled, in order.
    pub(super) fn unread(&self) -> Vec<u64> {
        self.pending.keys().copied().collect()
    }

    fn put(&mut self, sequence: u64, at: At) {
        let Some(pending) = self.pending.get_mut(&sequence) else { return };
        let before = std::mem::replace(&mut pending.at, at);
        let priority = pending.priority;
        self.unplace(sequence, priority, before);
        self.place(sequence, priority, at);
    }

    fn place(&mut self, sequence: u64, priority: u8, at: At) {
        match at {
            At::Behind => true,
            At::Ready => self.ready.insert((Reverse(priority), sequence)),
            At::Waiting(due) => self.waiting.insert((due, sequence)),
            At::Lent(loan) => self.lent.insert((loan.until, sequence)),
        };
    }

    fn unplace(&mut self, sequence: u64, priority: u8, at: At) {
        match at {
            At::Behind => true,
            At::Ready => self.ready.remove(&(Reverse(priority), sequence)),
            At::Waiting(due) => self.waiting.remove(&(due, sequence)),
            At::Lent(loan) => self.lent.remove(&(loan.until, sequence)),
        };
    }
}
