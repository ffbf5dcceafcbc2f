//! The newest tokens of locks, as keys that are forgotten a day after their last use.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use micro::store::{Batch, Fence};
use tokio::time::Instant;

use crate::proto::{KeyValue, With};

/// How long a token is kept. It is written again when it was used an hour later.
pub(super) const KEPT: Duration = Duration::from_secs(25 * 60 * 60);
const FRESH: Duration = Duration::from_secs(60 * 60);
/// Locks whose tokens this process remembers.
const MOST: usize = 4096;

/// What this process knows of tokens.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, (u64, Instant)>>);

/// A lock that is named in a batch, once or more.
#[derive(Debug)]
pub(super) struct Guard {
    /// Of the fence with the least token.
    pub(super) index: usize,
    pub(super) lock: String,
    pub(super) least: u64,
    pub(super) most: u64,
    /// What is there, as far as it is known.
    pub(super) found: With,
    /// The token is to be written.
    pub(super) writes: bool,
    /// Whose lease is of no use once it is.
    pub(super) lease: i64,
}

impl Guard {
    /// What the servers say is there. The newest token, where that is a later one than this lock was given.
    pub(super) fn learn(&mut self, kv: Option<&KeyValue>) -> Option<u64> {
        let Some(kv) = kv else {
            (self.found, self.writes, self.lease) = (With::Create(0), true, 0);
            return None;
        };
        (self.found, self.writes, self.lease) = (With::Mod(kv.mod_revision), true, kv.lease);
        let newest = std::str::from_utf8(&kv.value).ok().and_then(|text| text.parse().ok());
        newest.filter(|newest| *newest > self.least)
    }
}

impl Known {
    /// The locks of a batch.
    pub(super) fn guards(&self, batch: &Batch) -> Vec<Guard> {
        let mut guards: Vec<Guard> = Vec::with_capacity(batch.fences.len());
        for (index, Fence { lock, token }) in batch.fences.iter().enumerate() {
            match guards.iter_mut().find(|guard| guard.lock == *lock) {
                Some(guard) => {
                    if *token < guard.least {
                        (guard.least, guard.index) = (*token, index);
                    }
                    guard.most = guard.most.max(*token);
                }
                None => guards.push(Guard {
                    index,
                    lock: lock.clone(),
                    least: *token,
                    most: *token,
                    found: With::Create(0),
                    writes: true,
                    lease: 0,
                }),
            }
        }
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for guard in &mut guards {
            if guard.least == guard.most
                && known.get(&guard.lock).is_some_and(|(token, written)| {
                    *token == guard.most && written.elapsed() < FRESH
                })
            {
                (guard.found, guard.writes) = (With::Value(text(guard.most)), false);
            }
        }
        guards
    }

    /// A token was written.
    pub(super) fn note(&self, guard: &Guard) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(guard.lock.clone(), (guard.most, Instant::now()));
    }
}

/// A token, so that texts are in the order of numbers.
pub(super) fn text(token: u64) -> Bytes {
    format!("{token:020}").into()
}
