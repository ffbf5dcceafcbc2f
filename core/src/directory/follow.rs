//! The task behind the cache: the only writer, so changes, reads and lookups are never interleaved
//! and need no lock.
//!
//! A read that is under way keeps the changes that arrive meanwhile and replays them on its result.
//! Replayed in order, they lead to the state after the last of them, whichever of them the read had
//! seen already.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

use super::awaited::{Awaited, Waiter};
use super::intern::Interner;
use super::snapshot::{Snapshot, Table};
use crate::error::{Code, Error, Result};
use crate::registry::{Change, Registry, Service, WATCH_BYTES, Watcher};

/// Reads under way at once.
const READS: usize = 32;
/// First and longest pause before the watch is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long, and how many, unknown names are remembered.
const UNKNOWN: (Duration, usize) = (Duration::from_secs(1), 1024);
/// Services kept; the least used make room for more.
const SERVICES: usize = 65_536;

/// A lookup that found nothing in the table, or not what it wants.
pub(super) struct Request {
    pub(super) service: Arc<str>,
    pub(super) wanted: Wanted,
    pub(super) waiter: Waiter,
}

/// What a lookup is content with.
pub(super) enum Wanted {
    /// Whatever there is, also the word that there is nothing.
    Any,
    /// Another snapshot than this one, or any at all: it waits.
    Newer(Option<Arc<Snapshot>>),
}

/// What a read of the named service brought.
type Records = (Arc<str>, Result<Vec<Service>>);
type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(super) struct Follower {
    /// Guarded: each request ends in time, and none panics.
    registry: Arc<dyn Registry>,
    table: Arc<Table>,
    interner: Interner,
    unknown: Unknown,
    awaited: Awaited,
    watch: Watch,
    failures: u32,
    reads: HashMap<Arc<str>, Read>,
    waiting: VecDeque<Arc<str>>,
    running: FuturesUnordered<Task<Records>>,
}

enum Watch {
    Starting(Task<Result<Watcher>>),
    Up(Watcher, Instant),
    Down(Pin<Box<Sleep>>),
}

enum Event {
    Started(Result<Watcher>),
    Changed(Result<Arc<Change>>),
    Due,
}

/// A read of one service, waiting for its turn or under way.
#[derive(Default)]
struct Read {
    waiters: Vec<Waiter>,
    running: bool,
    changes: Vec<Arc<Change>>,
    /// What these weigh.
    bytes: usize,
    /// The result may miss changes: read once more.
    again: bool,
}

impl Watch {
    fn start(registry: &Arc<dyn Registry>) -> Self {
        let registry = Arc::clone(registry);
        Self::Starting(Box::pin(async move { registry.watch(None).await }))
    }

    async fn next(&mut self) -> Event {
        match self {
            Self::Starting(task) => Event::Started(task.await),
            Self::Up(watcher, _) => Event::Changed(watcher.next_shared().await),
            Self::Down(pause) => {
                pause.await;
                Event::Due
            }
        }
    }
}

impl Follower {
    pub(super) fn new(registry: Arc<dyn Registry>, table: Arc<Table>) -> Self {
        Self {
            watch: Watch::start(&registry),
            registry,
            table,
            interner: Interner::default(),
            unknown: Unknown::default(),
            awaited: Awaited::default(),
            failures: 0,
            reads: HashMap::new(),
            waiting: VecDeque::new(),
            running: FuturesUnordered::new(),
        }
    }

    /// Runs until the cache is dropped.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.on_request(request),
                    None => return,
                },
                event = self.watch.next() => self.on_event(event),
                Some((service, records)) = self.running.next() => self.on_read(service, records),
            }
            self.start_reads();
        }
    }

    fn on_request(&mut self, Request { service, wanted, waiter }: Request) {
        if let Wanted::Newer(than) = wanted {
            return self.on_wait(service, than.as_ref(), waiter);
        }
        if let Some(snapshot) = self.table.pin().get(&service) {
            let _ = waiter.send(Ok(Arc::clone(snapshot)));
        } else if self.unknown.holds(&service) {
            let _ = waiter.send(Err(Service::not_found(&service)));
        } else if let Some(read) = self.reads.get_mut(&service) {
            // Callers that gave up do not add up while the registry takes its time.
            read.waiters.retain(|waiter| !waiter.is_closed());
            read.waiters.push(waiter);
        } else {
            let read = Read { waiters: vec![waiter], ..Read::default() };
            self.reads.insert(Arc::clone(&service), read);
            // A call waits for this one; renewals can wait.
            self.waiting.push_front(service);
        }
    }

    fn on_wait(&mut self, service: Arc<str>, than: Option<&Arc<Snapshot>>, waiter: Waiter) {
        let known = self.table.pin().get(&service).cloned();
        match known {
            Some(known) if than.is_none_or(|than| !Arc::ptr_eq(than, &known)) => {
                let _ = waiter.send(Ok(known));
            }
            known => {
                self.awaited.add(&service, waiter);
                if known.is_none() && !self.unknown.holds(&service) {
                    self.read_first(service);
                }
            }
        }
    }

    /// Reads a service that a call waits for, unless that is under way.
    fn read_first(&mut self, service: Arc<str>) {
        if !self.reads.contains_key(&service) {
            self.reads.insert(Arc::clone(&service), Read::default());
            self.waiting.push_front(service);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Due => self.watch = Watch::start(&self.registry),
            Event::Started(Ok(watcher)) => {
                if self.failures > 0 {
                    tracing::info!(registry = self.registry.name(), "registry watch is back");
                }
                self.watch = Watch::Up(watcher, Instant::now());
                self.renew();
            }
            Event::Started(Err(error)) | Event::Changed(Err(error)) => self.pause(&error),
            Event::Changed(Ok(change)) => self.on_change(change),
        }
    }

    /// Reads again what was read without a watch, or under the previous one.
    fn renew(&mut self) {
        for read in self.reads.values_mut() {
            read.again = read.running;
        }
        for service in self.table.pin().keys().chain(self.awaited.services()) {
            if !self.reads.contains_key(service) {
                self.reads.insert(Arc::clone(service), Read::default());
                self.waiting.push_back(Arc::clone(service));
            }
        }
    }

    /// Leaves the registry alone for a while. What is known stays as it is.
    fn pause(&mut self, error: &Error) {
        if let Watch::Up(_, since) = self.watch
            && since.elapsed() > BACKOFF.1
        {
            self.failures = 0;
        }
        if self.failures == 0 {
            let registry = self.registry.name();
            tracing::warn!(registry, %error, "registry watch lost: serving the last known nodes");
        }
        let (first, longest) = BACKOFF;
        let full = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures += 1;
        // Callers that lost the same registry do not come back in step.
        self.watch = Watch::Down(Box::pin(sleep(full.mul_f64(0.5 + 0.5 * fastrand::f64()))));
        // Renewals that no call waits for start over with the next watch.
        self.waiting.retain(|service| match self.reads.get(service) {
            Some(read) if read.waiters.is_empty() => {
                self.reads.remove(service);
                false
            }
            _ => true,
        });
    }

    fn on_change(&mut self, change: Arc<Change>) {
        let service = change.service.name.as_str();
        self.unknown.forget(service);
        let known = self.table.pin().get(service).cloned();
        if let Some(known) = &known {
            let snapshot = known.changed(&change, &mut self.interner);
            self.store(snapshot);
        }
        if known.is_none() && self.awaited.holds(service) {
            self.read_first(service.into());
        }
        if let Some(read) = self.reads.get_mut(service).filter(|read| read.running) {
            read.bytes = read.bytes.saturating_add(change.service.weight());
            if read.bytes <= WATCH_BYTES {
                read.changes.push(change);
            } else {
                read.again = true;
            }
        }
    }

    fn start_reads(&mut self) {
        // Watch first, read then: what changes in between is reported.
        if matches!(self.watch, Watch::Starting(_)) {
            return;
        }
        while self.running.len() < READS
            && let Some(service) = self.waiting.pop_front()
        {
            if let Some(read) = self.reads.get_mut(&service) {
                read.running = true;
            }
            let registry = Arc::clone(&self.registry);
            self.running.push(Box::pin(async move {
                let records = registry.get(&service).await.map_err(of_client);
                (service, records)
            }));
        }
    }

    fn on_read(&mut self, service: Arc<str>, records: Result<Vec<Service>>) {
        let Some(read) = self.reads.remove(&service) else { return };
        let known = self.table.pin().get(&service).cloned();
        let outage = records.as_ref().err().filter(|error| is_outage(error)).cloned();
        let result = match (records, known) {
            // An answer that fails says nothing about the nodes: the last known ones stay.
            (Err(error), Some(known)) if error.code() != Code::NotFound => Ok(known),
            (Err(error), None) if error.code() != Code::NotFound => {
                if outage.is_none() {
                    self.awaited.refuse(&service, &error);
                }
                Err(error)
            }
            (records, known) => {
                let known =
                    known.unwrap_or_else(|| Arc::new(Snapshot::empty(Arc::clone(&service))));
                let records = records.unwrap_or_default();
                let mut snapshot = known.replaced(&records, &mut self.interner);
                for change in &read.changes {
                    snapshot = snapshot.changed(change, &mut self.interner);
                }
                self.store(snapshot).ok_or_else(|| {
                    self.unknown.remember(&service);
                    Service::not_found(&service)
                })
            }
        };
        if let Some(error) = outage.filter(|_| matches!(self.watch, Watch::Up(..))) {
            self.pause(&error);
        }
        for waiter in read.waiters {
            let _ = waiter.send(result.clone());
        }
        if read.again {
            self.reads.insert(Arc::clone(&service), Read::default());
            self.waiting.push_back(service);
        }
    }

    /// Puts a snapshot in place of the one before; takes the service out when no node is left.
    fn store(&mut self, snapshot: Snapshot) -> Option<Arc<Snapshot>> {
        let table = self.table.pin();
        if let Some(known) = table.get(snapshot.service()) {
            known.part(&snapshot);
        }
        if snapshot.nodes().is_empty() {
            table.remove(snapshot.service());
            return None;
        }
        if table.len() >= SERVICES && !table.contains_key(snapshot.service()) {
            let excess = SERVICES / 16;
            let unused: Vec<_> =
                table.iter().filter(|(_, snapshot)| !snapshot.was_used()).collect();
            let any = table.iter().take(excess);
            for (service, _) in unused.into_iter().chain(any).take(excess) {
                table.remove(service);
            }
        }
        let snapshot = Arc::new(snapshot);
        table.insert(snapshot.name(), Arc::clone(&snapshot));
        self.awaited.tell(&snapshot);
        Some(snapshot)
    }
}

/// True for errors that say nothing about the service asked for.
fn is_outage(error: &Error) -> bool {
    matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded)
}

/// A registry that took too long has signed no error: as in go-micro, its client does.
fn of_client(error: Error) -> Error {
    let unsigned = error.code() == Code::DeadlineExceeded && error.id().is_empty();
    if unsigned { error.with_id("go.micro.client") } else { error }
}

/// Names that no service has, for a short time.
#[derive(Default)]
struct Unknown {
    names: HashMap<Arc<str>, Instant>,
    /// In the order in which they were added, which is that in which they are forgotten.
    order: VecDeque<(Instant, Arc<str>)>,
}

impl Unknown {
    fn holds(&self, service: &str) -> bool {
        self.names.get(service).is_some_and(|added| added.elapsed() < UNKNOWN.0)
    }

    fn remember(&mut self, service: &Arc<str>) {
        while let Some((added, _)) = self.order.front()
            && (self.order.len() >= UNKNOWN.1 || added.elapsed() >= UNKNOWN.0)
        {
            let Some((added, oldest)) = self.order.pop_front() else { break };
            // It may have been forgotten and added anew since.
            if self.names.get(&oldest) == Some(&added) {
                self.names.remove(&oldest);
            }
        }
        let now = Instant::now();
        self.names.insert(Arc::clone(service), now);
        self.order.push_back((now, Arc::clone(service)));
    }

    fn forget(&mut self, service: &str) {
        self.names.remove(service);
    }
}
