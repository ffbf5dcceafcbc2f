//! Log records on their way to the host's own logging.
//!
//! A `tracing` subscriber that filters by the host's level before anything is put into words, keeps records in a bounded ring and
//! delivers many of them in one event. It never calls the host. Until a queue receives them they go to stderr.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
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

pub(crate) struct Ring {
    records: VecDeque<Record>,
    dropped: u64,
    /// The listener has been told that there are some.
    announced: bool,
    to: Weak<dyn Listener>,
}

/// What records are given to.
pub(crate) trait Listener: Send + Sync {
    /// There are records: the listener comes for them with [`take`].
    fn announce(&self);

    /// False once it comes for none any more.
    fn listens(&self) -> bool;
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Warn as u8);
static RING: Mutex<Ring> = Mutex::new(Ring {
    records: VecDeque::new(),
    dropped: 0,
    announced: false,
    to: Weak::<Silent>::new(),
});

/// Stands where there is no listener.
struct Silent;

impl Listener for Silent {
    fn announce(&self) {}

    fn listens(&self) -> bool {
        false
    }
}

/// The records, locked for the caller alone; also while this process forks.
pub(crate) fn ring() -> MutexGuard<'static, Ring> {
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

/// Gives records to `listener` from now on, and no longer to the one before.
pub(crate) fn deliver_to(listener: &Arc<impl Listener + 'static>) {
    let weak: Weak<dyn Listener> = Arc::downgrade(listener) as Weak<dyn Listener>;
    let mut ring = ring();
    ring.to = weak;
    ring.announced = !ring.records.is_empty();
    let announce = ring.announced;
    drop(ring);
    if announce {
        listener.announce();
    }
}

/// The listener takes nothing any more.
pub(crate) fn leave<L: Listener>(listener: &L) {
    let mut ring = ring();
    if std::ptr::addr_eq(ring.to.as_ptr(), std::ptr::from_ref(listener)) {
        ring.to = Weak::<Silent>::new();
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

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn keep(record: Record) {
    let mut ring = ring();
    let Some(listener) = ring.to.upgrade().filter(|listener| listener.listens()) else {
        drop(ring);
        let line = format!("{:?} {}: {}\n", record.level, record.target, record.message);
        to_stderr(line.as_bytes());
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
        listener.announce();
    }
}

/// Straight to the descriptor: the lock of the standard library's may be held by a thread that stayed behind in a fork.
#[cfg(unix)]
fn to_stderr(mut line: &[u8]) {
    while let Ok(written @ 1..) = rustix::io::write(rustix::stdio::stderr(), line) {
        line = line.get(written..).unwrap_or_default();
    }
}

#[cfg(not(unix))]
fn to_stderr(line: &[u8]) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
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
    let (level, most) = (Level::from(metadata.level()) as u8, LEVEL.load(Ordering::Relaxed));
    // That a service has started is told beside warnings: it is one line, and the one that people look for.
    let is_start = metadata.target() == micro::service::STARTED && most >= Level::Warn as u8;
    metadata.is_event() && (level <= most || is_start)
}

impl Subscriber for Recorder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if wanted(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 | 3 => LevelFilter::INFO,
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
