//! What a queue is told, by the way to it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::broker::{Message, Start, Subscription, Verdict};
use crate::error::{Code, Error, Result};

/// What a queue is told.
pub(super) enum Command {
    /// A consumer comes.
    Join { subscription: Subscription, process: u32, joined: oneshot::Sender<Result<Joined>> },
    /// A consumer has gone.
    Leave(u64),
    /// What became of an attempt.
    Settle { sequence: u64, attempt: u32, verdict: Verdict, done: oneshot::Sender<Result<()>> },
    /// An attempt goes on.
    Extend { sequence: u64, attempt: u32 },
    /// Somebody wants to know where it stands.
    Report(oneshot::Sender<Result<Standing>>),
    /// It goes on elsewhere, or nowhere where none is given, and ends with this: its consumers come again.
    Reset { start: Option<Start>, done: oneshot::Sender<Result<()>> },
    /// Messages were hidden.
    Reread,
}

/// A consumer's end.
pub(super) struct Joined {
    pub(super) consumer: u64,
    pub(super) messages: mpsc::Receiver<Lent>,
}

/// A message that is lent.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) message: Message,
    pub(super) attempt: u32,
    pub(super) sequence: u64,
    pub(super) published: SystemTime,
}

/// Where a queue stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Number of the next message to be read.
    pub(super) next: u64,
    /// Messages before that are not settled.
    pub(super) pending: u64,
    /// Those of them that consumers have.
    pub(super) held: u64,
    /// Those of them that wait for their time.
    pub(super) waiting: u64,
    /// The first of them: its number, how often it was delivered, and which consumer has it.
    pub(super) oldest: Option<(u64, u32, Option<String>)>,
    pub(super) consumers: u64,
}

/// Of which topic and name. Without a name it is one consumer's, and gone with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) topic: String,
    pub(super) queue: Option<String>,
}

impl Name {
    /// Topic of the log where it is written down how far the queue has come. No message has such a topic.
    pub(super) fn progress(&self) -> Option<Bytes> {
        let queue = self.queue.as_ref()?;
        Some(format!("{PROGRESS}{queue}\u{1}{}", self.topic).into())
    }

    /// The queue whose progress such a topic has.
    pub(super) fn of_progress(topic: &[u8]) -> Option<Self> {
        let rest = std::str::from_utf8(topic).ok()?.strip_prefix(PROGRESS)?;
        let (queue, topic) = rest.split_once('\u{1}')?;
        Some(Self { topic: topic.into(), queue: Some(queue.into()) })
    }
}

/// How topics of the log begin that no message has.
pub(super) const INNER: &[u8] = b"\x01";
/// How topics begin that are progress.
const PROGRESS: &str = "\u{1}progress\u{1}";
/// How topics begin that say which messages of another were dropped.
const HIDDEN: &str = "\u{1}hidden\u{1}";
/// How topics begin that say of another that its messages have priorities.
const PRIORITIES: &str = "\u{1}priorities\u{1}";

pub(super) fn is_priorities(topic: &[u8]) -> bool {
    topic.starts_with(PRIORITIES.as_bytes())
}

/// Topic of the log that has a record where messages of `topic` have priorities.
pub(super) fn priorities(topic: &str) -> Bytes {
    format!("{PRIORITIES}{topic}").into()
}

/// Topic of the log that says which messages of `topic` were dropped.
pub(super) fn hidden(topic: &[u8]) -> Bytes {
    [HIDDEN.as_bytes(), topic].concat().into()
}

/// The topic whose dropped messages such a topic names.
pub(super) fn of_hidden(topic: &[u8]) -> Option<&[u8]> {
    topic.strip_prefix(HIDDEN.as_bytes())
}

pub(super) fn ended() -> Error {
    Error::new(Code::Unavailable, "the queue has ended")
}

pub(super) fn refuse(command: Command) {
    match command {
        Command::Join { joined, .. } => drop(joined.send(Err(ended()))),
        Command::Settle { done, .. } => drop(done.send(Err(ended()))),
        Command::Report(told) => drop(told.send(Err(ended()))),
        Command::Reset { done, .. } => drop(done.send(Err(ended()))),
        Command::Leave(_) | Command::Extend { .. } | Command::Reread => {}
    }
}

/// Sends a command, and waits for its answer for as long as a caller may.
pub(super) async fn ask<T>(
    queue: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
) -> Result<T> {
    let (answer, answered) = oneshot::channel();
    let limit = Instant::now() + Duration::from_secs(30);
    let told = timeout_at(limit, async {
        queue.send(command(answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    });
    told.await.unwrap_or_else(|_| {
        Err(Error::new(Code::DeadlineExceeded, "the broker did not answer within 30 s"))
    })
}
