//! Names on the list of services. An entry says that a service is somewhere, and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Most bytes that names take together; then those told by one sender.
const LIMIT: [usize; 2] = [4 << 20, 2 << 20];
/// What a name takes beside its letters.
const ENTRY: usize = 128;
/// Longest that an entry is believed.
const TTL_LIMIT: Duration = Duration::from_secs(600);
/// Entries take no goodbye. One that stayed silent in so many lists, for so long, is over.
const SILENT: (u32, Duration) = (3, Duration::from_secs(10));

#[derive(Debug, Default)]
pub(super) struct Listed {
    names: BTreeMap<String, Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    heard: Instant,
    ttl: Duration,
    from: IpAddr,
    /// Lists in a row that it was not heard in.
    silent: u32,
}

impl Listed {
    /// Takes an entry, and says whether it is new. `None` where there is no room for it.
    pub(super) fn hear(
        &mut self,
        service: &str,
        ttl: u32,
        from: IpAddr,
        now: Instant,
    ) -> Option<bool> {
        let ttl = Duration::from_secs(ttl.into()).min(TTL_LIMIT);
        let entry = Entry { heard: now, ttl, from, silent: 0 };
        if let Some(known) = self.names.get_mut(service) {
            *known = entry;
            return Some(false);
        }
        let cost = service.len() + ENTRY;
        if self.bytes + cost > LIMIT[0] {
            self.expire(now);
        }
        let told = |entry: &&Entry| entry.from == from;
        let crowded = self.bytes + cost > LIMIT[1]
            && self.names.values().filter(told).count() * ENTRY > LIMIT[1];
        if self.bytes + cost > LIMIT[0] || crowded {
            return None;
        }
        self.bytes += cost;
        self.names.insert(service.to_owned(), entry);
        Some(true)
    }

    /// Names that are believed now.
    pub(super) fn names(&self, now: Instant) -> impl Iterator<Item = &str> {
        let lives = move |(_, entry): &(&String, &Entry)| entry.heard + entry.ttl > now;
        self.names.iter().filter(lives).map(|(name, _)| name.as_str())
    }

    /// True when an entry believed now was not heard since `started`.
    pub(super) fn misses(&self, started: Instant) -> bool {
        let late = |entry: &Entry| entry.heard < started && entry.heard + entry.ttl > started;
        self.names.values().any(late)
    }

    /// Ends a list that `started` then: what stays silent again and again is over.
    pub(super) fn settle(&mut self, started: Instant, now: Instant) {
        for entry in self.names.values_mut().filter(|entry| entry.heard < started) {
            entry.silent += 1;
        }
        self.retain(|entry| entry.silent < SILENT.0 || now - entry.heard < SILENT.1);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.retain(|entry| entry.heard + entry.ttl > now);
    }

    pub(super) fn forget(&mut self, service: &str) {
        if self.names.remove(service).is_some() {
            self.bytes -= service.len() + ENTRY;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        let bytes = &mut self.bytes;
        self.names.retain(|name, entry| {
            let kept = keep(entry);
            if !kept {
                *bytes -= name.len() + ENTRY;
            }
            kept
        });
    }

    /// Panics unless the books are right.
    #[cfg(any(test, fuzzing))]
    pub(super) fn check(&self) {
        let bytes: usize = self.names.keys().map(|name| name.len() + ENTRY).sum();
        assert_eq!(self.bytes, bytes);
        assert!(bytes <= LIMIT[0]);
    }
}
