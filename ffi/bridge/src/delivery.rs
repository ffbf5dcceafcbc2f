//! Messages of topics: lent to the host, until it says what became of each.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use micro::broker::{Delivered, Delivery, Verdict};
use micro::jobs::Running;
use micro::{Code, Codec, Context, Error};

use crate::failure::{Failure, Result};
use crate::metadata::pack_facts;

/// What a host says of a message, as a number.
pub mod verdict {
    /// It was handled.
    pub const ACK: u32 = 0;
    /// It is to be delivered again, after a time.
    pub const RETRY: u32 = 1;
    /// It is a dead letter.
    pub const REJECT: u32 = 2;
    /// It is still being handled: its lease begins anew.
    pub const EXTEND: u32 = 3;
}

/// What the host said of a message.
#[derive(Debug)]
pub(crate) enum Said {
    Handled,
    Again(Duration, String),
    Never(String),
    GoesOn,
}

impl Said {
    /// # Errors
    /// [`Status::ARG`](crate::Status::ARG) for an unknown verdict.
    pub(crate) fn read(verdict: u32, delay_ns: u64, reason: &str) -> Result<Self> {
        Ok(match verdict {
            verdict::ACK => Self::Handled,
            verdict::RETRY => Self::Again(Duration::from_nanos(delay_ns), reason.to_owned()),
            verdict::REJECT => Self::Never(reason.to_owned()),
            verdict::EXTEND => Self::GoesOn,
            other => {
                return Err(Failure::argument(format!(
                    "{other} is no verdict: give 0 to 3, for acknowledged, again, rejected and still at work"
                )));
            }
        })
    }

    /// For a broker; `None` for one that goes on.
    pub(crate) fn verdict(self) -> Option<Verdict> {
        Some(match self {
            Self::Handled => Verdict::Ack,
            Self::Again(after, reason) => Verdict::Retry(after, reason),
            Self::Never(reason) => Verdict::Reject(reason),
            Self::GoesOn => return None,
        })
    }

    /// For a subscriber of a service, as what its handler returns; `None` for one that goes on.
    pub(crate) fn answer(self) -> Option<Result<Bytes, Error>> {
        let failed = |reason| Error::new(Code::Aborted, reason);
        Some(match self {
            Self::Handled => Ok(Bytes::new()),
            Self::Again(after, reason) => Err(failed(reason).with_retry_after(after)),
            Self::Never(reason) => Err(failed(reason).without_retry()),
            Self::GoesOn => return None,
        })
    }
}

/// A message that the host has.
#[derive(Clone)]
pub(crate) struct Lent(Arc<Mutex<Option<Delivery>>>);

impl Lent {
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self(Arc::new(Mutex::new(Some(delivery))))
    }

    fn delivery(&self) -> MutexGuard<'_, Option<Delivery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn extend(&self) {
        if let Some(delivery) = &*self.delivery() {
            delivery.extend();
        }
    }

    /// For the one who took it out of what is under way.
    pub(crate) fn take(&self) -> Option<Delivery> {
        self.delivery().take()
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lent")
    }
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How the body is written; as bytes where that is not known here.
pub(crate) fn codec(delivered: &Delivered) -> Codec {
    codec_of(delivered.message.content_type.as_deref())
}

/// The same by content type.
pub(crate) fn codec_of(name: Option<&str>) -> Codec {
    name.and_then(|name| Codec::from_content_type(name).ok()).unwrap_or(Codec::Bytes)
}

/// Headers, and what is known beside them.
pub(crate) fn facts(delivered: &Delivered) -> Bytes {
    let message = &delivered.message;
    let attempt = delivered.attempt.to_string();
    let sequence = delivered.sequence.map(|sequence| sequence.to_string());
    let published = millis(delivered.published).to_string();
    let priority = (message.priority > 0).then(|| message.priority.to_string());
    let known = [
        ("topic", Some(message.topic.as_str())),
        ("type", message.content_type.as_deref()),
        ("attempt", Some(attempt.as_str())),
        ("sequence", sequence.as_deref()),
        ("published", Some(published.as_str())),
        ("key", message.key.as_deref()),
        ("id", message.id.as_deref()),
        ("priority", priority.as_deref()),
    ];
    pack_facts(&message.headers, known.iter().filter_map(|(name, value)| Some((*name, (*value)?))))
}

/// The same of the run of a job.
pub(crate) fn facts_of_run(context: &Context, run: &Running) -> Bytes {
    let (time, attempt) = (millis(run.time).to_string(), run.attempt.to_string());
    let known = [("job", &*run.job), ("time", &*time), ("attempt", &*attempt)];
    pack_facts(context.metadata(), known.into_iter())
}
