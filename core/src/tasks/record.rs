//! What is written down about a task, and what it comes to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::{Abilities, Message};
use crate::error::{Code, Error, Result};

/// Header of a task's messages.
pub(super) const ID: &str = "micro-task-id";
/// Header of what was written down about it.
pub(super) const STATE: &str = "micro-task-state";
/// How long results are kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Topics of results of each topic, so that who waits reads few of others.
const TOPICS: u32 = 16;

/// How far a task has come.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// Nobody has begun it.
    Queued,
    /// A worker is at it.
    Running {
        /// Which attempt this is, from 1.
        attempt: u32,
        /// Id of the worker's node.
        node: String,
    },
    /// An attempt failed, and another follows.
    Failed {
        /// Which attempt it was, from 1.
        attempt: u32,
        /// Why.
        error: Error,
    },
    /// It is done; see [`Task::result`](super::Task::result).
    Done,
    /// It was given up: its message is a dead letter.
    Dead {
        /// Why its last attempt failed.
        error: Error,
    },
}

/// What is written down, in the header [`STATE`] and the body.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    Running {
        attempt: u32,
        node: String,
    },
    Failed {
        attempt: u32,
        error: Error,
    },
    /// With the result as its body.
    Done(Box<Message>),
    Dead {
        error: Error,
    },
    /// Tells its writer that it has read all that was written before.
    Mark,
}

/// The body of what is no result.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Body {
    attempt: u32,
    node: String,
    code: i32,
    detail: String,
}

/// Topic of what is written down about a task.
pub(super) fn topic(topic: &str, id: &str) -> String {
    format!("{topic}.results.{:x}", crc32fast::hash(id.as_bytes()) % TOPICS)
}

/// A message that writes a record down.
pub(super) fn write(
    topic_of_task: &str,
    id: &str,
    record: Record,
    can: Abilities,
) -> Result<Message> {
    let topic = topic(topic_of_task, id);
    let body = |body: &Body| serde_json::to_vec(body).unwrap_or_default();
    let failed = |attempt: u32, error: &Error| Body {
        attempt,
        code: error.code().grpc(),
        detail: error.detail().to_owned(),
        ..Body::default()
    };
    let (state, mut message) = match record {
        Record::Running { attempt, node } => {
            let bytes = body(&Body { attempt, node, ..Body::default() });
            ("running", Message::new(topic, bytes))
        }
        Record::Failed { attempt, error } => {
            ("failed", Message::new(topic, body(&failed(attempt, &error))))
        }
        Record::Dead { error } => ("dead", Message::new(topic, body(&failed(0, &error)))),
        Record::Done(result) => {
            let mut message = Message::new(topic, result.body);
            message.content_type = result.content_type;
            ("done", message)
        }
        Record::Mark => ("mark", Message::new(topic, "")),
    };
    message.headers.insert(ID, id)?;
    message.headers.insert(STATE, state)?;
    Ok(if can.expires { message.expires_in(KEPT) } else { message })
}

/// What a message says about the task `id`; nothing where it is about another.
pub(super) fn read(message: &Message, id: &str) -> Option<Record> {
    if message.headers.get(ID) != Some(id) {
        return None;
    }
    let body = || serde_json::from_slice::<Body>(&message.body).unwrap_or_default();
    let error = |body: &Body| {
        Error::new(Code::from_grpc(body.code).unwrap_or(Code::Unknown), body.detail.clone())
    };
    Some(match message.headers.get(STATE)? {
        "running" => {
            let Body { attempt, node, .. } = body();
            Record::Running { attempt, node }
        }
        "failed" => {
            let body = body();
            Record::Failed { attempt: body.attempt, error: error(&body) }
        }
        "dead" => Record::Dead { error: error(&body()) },
        "done" => Record::Done(Box::new(message.clone())),
        "mark" => Record::Mark,
        _ => return None,
    })
}
