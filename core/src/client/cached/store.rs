//! What a client keeps of replies: bounded in bytes and in time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::key::Key;
use crate::client::layers::Response;
use crate::metadata::Metadata;
use crate::server::Body;
use crate::transport::size_of_headers;

/// How often replies whose time is over are looked for.
const SWEEP: Duration = Duration::from_secs(30);
/// What an entry takes beside its bytes, roughly.
const ENTRY: usize = 256;

/// Replies by what was asked.
#[derive(Debug)]
pub(in crate::client) struct Store {
    /// Most bytes that it holds.
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    replies: HashMap<Arc<Key>, Entry, RandomState>,
    /// Keys by when they were last used: the first goes first.
    used: BTreeMap<u64, Arc<Key>>,
    uses: u64,
    bytes: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    reply: Reply,
    expires: Instant,
    bytes: usize,
    used: u64,
}

/// A reply that is kept. Its bytes are shared and never change.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) message: Bytes,
    pub(super) headers: Metadata,
    pub(super) trailers: Metadata,
    pub(super) compressed: bool,
}

impl Reply {
    /// The reply to keep of an answer; `None` for a stream.
    pub(super) fn of(response: &Response) -> Option<Self> {
        let Body::Message(message) = &response.body else { return None };
        let (headers, trailers) = (response.headers.clone(), response.trailers.clone());
        let compressed = response.compressed;
        // What is kept must not hold the whole buffer that it was read into.
        let message = Bytes::copy_from_slice(message);
        Some(Self { message, headers, trailers, compressed })
    }

    pub(super) fn into_response(self) -> Response {
        let Self { message, headers, trailers, compressed } = self;
        Response { body: Body::Message(message), headers, trailers, compressed }
    }
}

impl Store {
    pub(in crate::client) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Reply> {
        let mut state = self.state();
        let state = &mut *state;
        let entry = state.replies.get_mut(key).filter(|entry| entry.expires > now)?;
        let key = state.used.remove(&entry.used)?;
        state.uses += 1;
        entry.used = state.uses;
        state.used.insert(state.uses, key);
        Some(entry.reply.clone())
    }

    /// Keeps a reply until `expires`, in place of those used least where there is no room. One that is larger than an eighth
    /// of the whole is not kept.
    pub(super) fn keep(&self, key: Key, reply: Reply, now: Instant, expires: Instant) {
        let around = [&reply.headers, &reply.trailers];
        let around: usize = around.iter().map(|part| size_of_headers(part.headers())).sum();
        let bytes = ENTRY + key.len() + reply.message.len() + around;
        let mut state = self.state();
        state.sweep(now);
        if bytes > self.most / 8 {
            return;
        }
        let key = Arc::new(key);
        state.remove(&key);
        while state.bytes + bytes > self.most {
            let Some((_, oldest)) = state.used.pop_first() else { break };
            state.remove(&oldest);
        }
        state.uses += 1;
        let used = state.uses;
        state.used.insert(used, key.clone());
        state.bytes += bytes;
        state.replies.insert(key, Entry { reply, expires, bytes, used });
    }

    /// All that is kept and not over, in the order of its keys.
    pub(super) fn list<T: Ord>(
        &self,
        now: Instant,
        told: impl Fn(&Key, &Reply, Duration) -> T,
    ) -> Vec<T> {
        let mut state = self.state();
        state.sweep(now);
        let mut list: Vec<T> = state
            .replies
            .iter()
            .filter(|(_, entry)| entry.expires > now)
            .map(|(key, entry)| told(key, &entry.reply, entry.expires - now))
            .collect();
        drop(state);
        list.sort();
        list
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.replies.remove(key) {
            self.bytes -= entry.bytes;
            self.used.remove(&entry.used);
        }
    }

    /// Lets go of what is over, unless that was done lately.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now < swept + SWEEP) {
            return;
        }
        self.swept = Some(now);
        let over = self.replies.iter().filter(|(_, entry)| entry.expires <= now);
        let over: Vec<_> = over.map(|(key, _)| key.clone()).collect();
        for key in over {
            self.remove(&key);
        }
    }
}
