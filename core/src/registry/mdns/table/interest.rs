//! What is wanted: services that were asked for, watches, lookups that wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::names::Names;
use crate::registry::{Change, WatchSender};

/// Most lookups at a time.
pub(in super::super) const LOOKUP_LIMIT: usize = 1024;
/// Most watches at a time.
pub(in super::super) const WATCH_LIMIT: usize = 1024;
/// Most services remembered as asked for; the ones asked for longest ago make room.
const ASKED_LIMIT: usize = 4096;

/// A lookup that waits for answers.
#[derive(Debug)]
pub(in super::super) struct Lookup {
    pub(super) subject: Subject,
    pub(in super::super) started: Instant,
    /// Wakes the lookup for every answer.
    pub(in super::super) heard: Notify,
    /// Answers that told something new.
    news: AtomicUsize,
}

/// What a lookup is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Subject {
    /// The nodes of one service.
    Service(String),
    /// The list of services.
    List,
}

/// How much an instance is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Wanted {
    /// No lookup or watch would be told.
    No,
    /// By watchers of all services.
    ByAll,
    /// Its service was asked for or is watched.
    ByName,
}

/// A service that was asked for.
#[derive(Debug)]
struct Asked {
    at: Instant,
    /// A lookup waited long for a first answer already.
    patient: bool,
}

#[derive(Debug, Default)]
pub(super) struct Interest {
    asked: HashMap<String, Asked>,
    /// Whether the list was waited for; `None` when it was never asked for.
    list: Option<bool>,
    lookups: Vec<Arc<Lookup>>,
    watchers: Vec<WatchSender>,
}

impl Lookup {
    /// Answers so far that told something new.
    pub(in super::super) fn news(&self) -> usize {
        self.news.load(Relaxed)
    }
}

impl Interest {
    /// Starts a lookup, and says whether its subject is asked for the first time. `None` when too
    /// many lookups wait.
    pub(super) fn begin(&mut self, subject: Subject, now: Instant) -> Option<(Arc<Lookup>, bool)> {
        if self.lookups.len() >= LOOKUP_LIMIT {
            return None;
        }
        let first = match &subject {
            Subject::List => self.list.replace(self.list.unwrap_or_default()).is_none(),
            Subject::Service(name) => match self.asked.get_mut(name) {
                Some(asked) => {
                    asked.at = now;
                    false
                }
                None => {
                    self.make_room();
                    self.asked.insert(name.clone(), Asked { at: now, patient: false });
                    true
                }
            },
        };
        let (heard, news) = Default::default();
        let lookup = Arc::new(Lookup { subject, started: now, heard, news });
        self.lookups.push(Arc::clone(&lookup));
        Some((lookup, first))
    }

    fn make_room(&mut self) {
        if self.asked.len() >= ASKED_LIMIT {
            let mut times: Vec<Instant> = self.asked.values().map(|asked| asked.at).collect();
            times.sort_unstable();
            let oldest = times[times.len() / 16];
            self.asked.retain(|_, asked| asked.at > oldest);
        }
    }

    pub(super) fn end(&mut self, lookup: &Arc<Lookup>) {
        self.lookups.retain(|known| !Arc::ptr_eq(known, lookup));
    }

    /// True until a lookup of `subject` waited long in vain.
    pub(super) fn may_wait(&self, subject: &Subject) -> bool {
        match subject {
            Subject::List => self.list != Some(true),
            Subject::Service(name) => self.asked.get(name).is_none_or(|asked| !asked.patient),
        }
    }

    /// Notes that a lookup waited long.
    pub(super) fn waited(&mut self, subject: &Subject) {
        match subject {
            Subject::List => self.list = Some(true),
            Subject::Service(name) => {
                if let Some(asked) = self.asked.get_mut(name) {
                    asked.patient = true;
                }
            }
        }
    }

    /// True once the list was asked for.
    pub(super) fn lists(&self) -> bool {
        self.list.is_some()
    }

    /// Adds a watcher. False when there are too many.
    pub(super) fn watch(&mut self, watcher: WatchSender) -> bool {
        self.tidy();
        let room = self.watchers.len() < WATCH_LIMIT;
        if room {
            self.watchers.push(watcher);
        }
        room
    }

    /// Ends every watch.
    pub(super) fn close(&mut self) {
        self.watchers.clear();
    }

    /// Lets watchers go that left.
    pub(super) fn tidy(&mut self) {
        self.watchers.retain(|watcher| !watcher.is_closed());
    }

    /// Services that were asked for or are watched by name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let watched = self.watchers.iter().filter_map(WatchSender::service);
        self.asked.keys().map(String::as_str).chain(watched)
    }

    /// True when a watcher wants `service`.
    pub(super) fn watched(&self, service: &str) -> bool {
        self.watchers.iter().any(|watcher| watcher.wants(service))
    }

    /// How much the instance of that name is wanted.
    pub(super) fn wanted(&self, names: &Names, instance: &str) -> Wanted {
        let mut services = names.services(instance);
        let named = services.any(|service| {
            let watches = |watcher: &WatchSender| watcher.service() == Some(service);
            self.asked.contains_key(service) || self.watchers.iter().any(watches)
        });
        let all = || self.watchers.iter().any(|watcher| watcher.service().is_none());
        match named {
            true => Wanted::ByName,
            false if all() => Wanted::ByAll,
            false => Wanted::No,
        }
    }

    /// Tells watchers of a change.
    pub(super) fn emit(&mut self, change: impl FnOnce() -> Change) {
        if !self.watchers.is_empty() {
            let change = Arc::new(change());
            self.watchers.retain(|watcher| watcher.send(&change));
        }
    }

    /// Wakes the lookups that `about` concerns.
    pub(super) fn tell(&self, about: impl Fn(&Subject) -> bool, news: bool) {
        for lookup in self.lookups.iter().filter(|lookup| about(&lookup.subject)) {
            if news {
                lookup.news.fetch_add(1, Relaxed);
            }
            lookup.heard.notify_one();
        }
    }

    /// True when `about` concerns a lookup that began after `since`.
    pub(super) fn asked_since(&self, since: Instant, about: impl Fn(&Subject) -> bool) -> bool {
        self.lookups.iter().any(|lookup| lookup.started > since && about(&lookup.subject))
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.lookups.is_empty()
    }

    #[cfg(test)]
    pub(super) fn watchers(&self) -> usize {
        self.watchers.len()
    }
}
