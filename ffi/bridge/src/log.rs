//! Log records on their way to the host's own logging.
//!
//! A `tracing` subscriber that filters by the host's level before anything is put into words, keeps records in a bounded ring and
//! delivers many of them in one event. It never calls the host. Until a queue receives them they go to stderr.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id as SpanId, Record as SpanRecord};
use tracing::subscriber::Interest;
use tracing::{Level as TracingLevel, Metadata, Subscriber};

use crate::event::{Event, EventKind};
use crate::id::Id;
use crate::queue::Queue;

/// Records that are kept for a host that does not come for them.
const CAPACITY: usize = 1024;
/// Bytes of one record's text; the rest is cut off.
const LONGEST: usize = 4096;

/// What is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Level {
    /// Nothing.
    Off = 0,
    /// What broke.
    Error = 1,
    /// What may break; the default.
    #[default]
    Warn = 2,
    /// What happens.
    Info = 3,
    /// How it happens.
    Debug = 4,
    /// Every step.
    Trace = 5,
}

/// One record as the host reads it.
#[derive(Debug, Serialize)]
struct Record {
    /// Milliseconds since 1970.
    time_ms: u64,
    level: Level,
    /// Where in the library.
    target: String,
    /// What happened, with its fields behind it.
    message: String,
}

struct Ring {
    records: VecDeque<Record>,
    dropped: u64,
    /// A LOG event waits in the queue.
    announced: bool,
    to: Weak<Queue>,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Warn as u8);
static RING: Mutex<Ring> =
    Mutex::new(Ring { records: VecDeque::new(), dropped: 0, announced: false, to: Weak::new() });

thread_local! {
    /// The lock, while this thread forks.
    static HELD: Cell<Option<MutexGuard<'static, Ring>>> = const { Cell::new(None) };
}

/// Keeps every other thread out of the records until [`let_go`].
pub(crate) fn hold() {
    // A thread that has no such place any more is about to end, and forks nothing.
    let _ = HELD.try_with(|held| held.set(Some(ring())));
}

/// Ends [`hold`], on the same thread; without effect when it did not hold them.
pub(crate) fn let_go() {
    let _ = HELD.try_with(|held| drop(held.take()));
}

fn ring() -> MutexGuard<'static, Ring> {
    RING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records what is at least as grave as `level` from now on, in the whole process.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
}

/// Listens to the core, once in a process. A Rust program that has a subscriber of its own keeps it.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = tracing::subscriber::set_global_default(Recorder);
    });
}

/// Sends records to `queue` from now on.
pub(crate) fn deliver_to(queue: &Arc<Queue>) {
    let mut ring = ring();
    ring.to = Arc::downgrade(queue);
    ring.announced = !ring.records.is_empty();
    let announce = ring.announced;
    drop(ring);
    if announce {
        queue.push(marker());
    }
}

/// The queue receives nothing any more.
pub(crate) fn leave(queue: &Queue) {
    let mut ring = ring();
    if std::ptr::eq(ring.to.as_ptr(), queue) {
        ring.to = Weak::new();
        ring.announced = false;
    }
}

/// Everything recorded so far, as a JSON array.
pub(crate) fn take() -> Bytes {
    let (mut records, dropped) = {
        let mut ring = ring();
        ring.announced = false;
        (std::mem::take(&mut ring.records), std::mem::take(&mut ring.dropped))
    };
    if dropped > 0 {
        records.push_back(Record {
            time_ms: now(),
            level: Level::Warn,
            target: "micro::bridge".to_owned(),
            message: format!("{dropped} log records were dropped: drain the queue more often"),
        });
    }
    Bytes::from(serde_json::to_vec(&records).unwrap_or_default())
}

fn marker() -> Event {
    Event::new(EventKind::Log, 0, Id::NONE)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn keep(record: Record) {
    let mut ring = ring();
    let Some(queue) = ring.to.upgrade().filter(|queue| queue.is_open()) else {
        drop(ring);
        let line = format!("{:?} {}: {}\n", record.level, record.target, record.message);
        let _ = std::io::stderr().write_all(line.as_bytes());
        return;
    };
    if ring.records.len() == CAPACITY {
        ring.records.pop_front();
        ring.dropped += 1;
    }
    ring.records.push_back(record);
    let announce = !std::mem::replace(&mut ring.announced, true);
    drop(ring);
    if announce {
        queue.push(marker());
    }
}

/// The subscriber. Spans are none of its business, which makes them cost nothing.
struct Recorder;

impl From<&TracingLevel> for Level {
    fn from(level: &TracingLevel) -> Self {
        match *level {
            TracingLevel::ERROR => Self::Error,
            TracingLevel::WARN => Self::Warn,
            TracingLevel::INFO => Self::Info,
            TracingLevel::DEBUG => Self::Debug,
            TracingLevel::TRACE => Self::Trace,
        }
    }
}

fn wanted(metadata: &Metadata<'_>) -> bool {
    let level = Level::from(metadata.level());
    metadata.is_event() && level as u8 <= LEVEL.load(Ordering::Relaxed)
}

impl Subscriber for Recorder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if wanted(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        wanted(metadata)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        let level = Level::from(metadata.level());
        let mut words = Words::default();
        event.record(&mut words);
        let message = words.into_text();
        keep(Record { time_ms: now(), level, target: metadata.target().to_owned(), message });
    }

    fn new_span(&self, _: &Attributes<'_>) -> SpanId {
        // Never asked for: no span is enabled.
        SpanId::from_u64(1)
    }

    fn record(&self, _: &SpanId, _: &SpanRecord<'_>) {}
    fn record_follows_from(&self, _: &SpanId, _: &SpanId) {}
    fn enter(&self, _: &SpanId) {}
    fn exit(&self, _: &SpanId) {}
}

/// A record put into words: the message, then `name=value`.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Words {
    fn into_text(mut self) -> String {
        self.message.push_str(&self.fields);
        if self.message.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|end| self.message.is_char_boundary(*end));
            self.message.truncate(end.unwrap_or(0));
        }
        self.message
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn nobody_else_gets_at_the_records_while_a_thread_forks() {
        hold();
        let (done, taken) = mpsc::channel();
        let other = std::thread::spawn(move || {
            drop(take());
            let _ = done.send(());
        });
        assert!(taken.recv_timeout(Duration::from_millis(50)).is_err(), "they were free");
        let_go();
        taken.recv_timeout(Duration::from_secs(20)).expect("free again");
        other.join().expect("the other thread");
        // As in a child whose parent did not hold them.
        let_go();
    }
}
