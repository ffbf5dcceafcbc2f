//! Ids of messages that were published lately: one that is published again is not written again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::broker::stored::millis;
use crate::data::log::{Append, Level, Limit, Log};
use crate::error::Result;

/// Topic of the log that has them. No message has such a topic.
const TOPIC: &[u8] = b"\x01ids";
/// Ids that are remembered. With more, the oldest are forgotten before their time.
const MOST: usize = 1 << 18;
/// Ids that are read, and written again, at once.
const TOGETHER: Limit = Limit { records: 4096, bytes: 4 << 20 };

/// The ids of one log.
pub(super) struct Ids {
    window: Duration,
    /// Two, so that no two ids are ever taken for one.
    hashers: [RandomState; 2],
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    ids: HashMap<Id, State>,
    /// When each may be forgotten.
    until: VecDeque<(Instant, Id)>,
    was_full: bool,
}

type Id = [u64; 2];

enum State {
    /// Its message is being written, until the other end is dropped.
    Writing(watch::Receiver<()>),
    Written,
}

/// What is known of an id.
pub(super) enum Found {
    /// A message has it.
    Written,
    /// A message that is being written has it. Ends once that is known to have succeeded or failed.
    Writing(watch::Receiver<()>),
    /// None has it but the one that asked, which is to be written now.
    New(Writing),
}

/// The id of a message that is being written. When this is dropped, the message was not.
pub(super) struct Writing {
    ids: Arc<Ids>,
    id: Id,
    /// Drops after the id is known or forgotten.
    _sender: watch::Sender<()>,
}

/// Ids as they are written down.
#[derive(Clone, PartialEq, prost::Message)]
struct Written {
    #[prost(message, repeated, tag = "1")]
    ids: Vec<One>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct One {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(string, tag = "2")]
    id: String,
    /// When its message was published, in milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    at: u64,
}

/// What is written down together with a message that has an id.
pub(super) fn record(topic: &str, id: &str) -> Append {
    let at = millis(SystemTime::now());
    append(vec![One { topic: topic.to_owned(), id: id.to_owned(), at }])
}

fn append(ids: Vec<One>) -> Append {
    let body = [Written { ids }.encode_to_vec().into(), Bytes::new()];
    Append { topic: Bytes::from_static(TOPIC), body }
}

/// Writes ids anew that are written before `before` and not to be forgotten yet.
pub(super) async fn keep(log: &Log, window: Duration, before: u64) -> Result<()> {
    let oldest = oldest(window);
    let mut from = log.at(TOPIC, oldest).await?;
    while from < before {
        let records = log.read(TOPIC, from, TOGETHER).await?;
        let Some(last) = records.last() else { break };
        from = last.sequence + 1;
        let mut ids = Vec::new();
        for record in records.iter().filter(|record| record.sequence < before) {
            let written = Written::decode(record.body.clone()).unwrap_or_default();
            ids.extend(written.ids.into_iter().filter(|one| one.at >= oldest));
        }
        if !ids.is_empty() {
            log.append(vec![append(ids)], Level::Synced).await?;
        }
    }
    Ok(())
}

/// The time of the oldest id that is remembered, in milliseconds since 1970.
fn oldest(window: Duration) -> u64 {
    SystemTime::now().checked_sub(window).map_or(0, millis)
}

impl Ids {
    /// Those that the log has.
    pub(super) async fn recall(log: &Log, window: Duration) -> Result<Arc<Self>> {
        let hashers = [RandomState::new(), RandomState::new()];
        let ids = Self { window, hashers, known: Mutex::default() };
        let (now, clock) = (Instant::now(), millis(SystemTime::now()));
        let mut from = log.at(TOPIC, oldest(window)).await?;
        loop {
            let records = log.read(TOPIC, from, TOGETHER).await?;
            let Some(last) = records.last() else { break };
            from = last.sequence + 1;
            let mut known = ids.known();
            for record in records {
                for One { topic, id, at } in Written::decode(record.body).unwrap_or_default().ids {
                    // One of a clock that has stepped back since is as good as new.
                    let age = Duration::from_millis(clock.saturating_sub(at));
                    if let Some(left) = window.checked_sub(age) {
                        known.learn(ids.id(&topic, &id), now + left);
                    }
                }
            }
        }
        Ok(Arc::new(ids))
    }

    /// What is known of an id of a topic.
    pub(super) fn find(self: &Arc<Self>, topic: &str, id: &str) -> Found {
        let id = self.id(topic, id);
        let mut known = self.known();
        known.forget(Instant::now());
        match known.ids.get(&id) {
            Some(State::Written) => Found::Written,
            Some(State::Writing(written)) => Found::Writing(written.clone()),
            None => {
                let (_sender, written) = watch::channel(());
                known.ids.insert(id, State::Writing(written));
                Found::New(Writing { ids: self.clone(), id, _sender })
            }
        }
    }

    fn id(&self, topic: &str, id: &str) -> Id {
        self.hashers.each_ref().map(|hasher| hasher.hash_one((topic, id)))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn learn(&mut self, id: Id, until: Instant) {
        self.ids.insert(id, State::Written);
        self.until.push_back((until, id));
        if self.until.len() > MOST {
            if !self.was_full {
                self.was_full = true;
                tracing::warn!(
                    most = MOST,
                    "so many messages with an id were published that the oldest ids are forgotten before their time: \
                     publish fewer, or set a shorter `dedup`"
                );
            }
            self.forget_first();
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.until.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, id)) = self.until.pop_front() else { return };
        if matches!(self.ids.get(&id), Some(State::Written)) {
            self.ids.remove(&id);
        }
    }
}

impl Writing {
    /// The message is written.
    pub(super) fn done(self) {
        let until = Instant::now() + self.ids.window;
        self.ids.known().learn(self.id, until);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut known = self.ids.known();
        if matches!(known.ids.get(&self.id), Some(State::Writing(_))) {
            known.ids.remove(&self.id);
        }
    }
}
