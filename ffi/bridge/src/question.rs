//! What a host asks, and on which terms.

use std::time::Duration;

use bytes::Bytes;
use micro::{Context, Metadata, deadline_after};
use tokio::time::Instant;

use crate::desk::{Desk, Wait};
use crate::event::NO_TIMEOUT;
use crate::failure::Result;
use crate::flags;
use crate::id::Id;
use crate::request::request_flags;

/// How long an answer, or the opening of what is followed, may take unless a question says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something to be asked, or to be followed.
#[derive(Debug, Clone, Default)]
pub struct Question<'a> {
    /// Which operation: one of [`crate::operations`].
    pub operation: u32,
    /// Its arguments: a JSON object, or nothing.
    pub args: &'a str,
    /// The value or the message, of operations that take one; the others refuse it.
    pub payload: Bytes,
    /// Metadata, of operations that take it: a block of [`crate::pack`], or nothing. The others refuse it.
    pub meta: &'a [u8],
    /// Nanoseconds to wait for the answer, or for what is followed to open; 0 for 10 s, [`NO_TIMEOUT`] for ever. A shorter
    /// deadline of the parent wins.
    pub timeout_ns: u64,
    /// The call that came in of which this is part: it ends when that one ends.
    pub parent: Id,
    /// [`request_flags::WAIT`], or nothing.
    pub flags: u32,
}

/// The terms of a question, read.
pub(crate) struct Terms {
    pub(crate) metadata: Metadata,
    pub(crate) until: Option<Instant>,
    pub(crate) parent: Option<Context>,
    waits: bool,
}

impl Terms {
    /// # Errors
    /// `ARG` and `INVALID_ARGUMENT` for what cannot be read, `CANCELLED` when the parent is over.
    pub(crate) fn read(question: &Question<'_>, desk: &Desk) -> Result<Self> {
        let Question { meta, timeout_ns, parent, flags, .. } = *question;
        flags::check(flags, request_flags::WAIT, "question")?;
        Self::of(desk, meta, timeout_ns, parent, flags)
    }

    /// # Errors
    /// As [`Terms::read`].
    pub(crate) fn of(
        desk: &Desk,
        meta: &[u8],
        timeout_ns: u64,
        parent: Id,
        flags: u32,
    ) -> Result<Self> {
        let parent = desk.parent(parent)?;
        let own = match timeout_ns {
            0 => Some(deadline_after(PATIENCE)),
            NO_TIMEOUT => None,
            nanos => Some(deadline_after(Duration::from_nanos(nanos))),
        };
        let inherited = parent.as_ref().and_then(Context::deadline);
        Ok(Self {
            metadata: crate::unpack(meta)?,
            until: own.into_iter().chain(inherited).min(),
            parent,
            waits: flags & request_flags::WAIT != 0,
        })
    }

    /// How it gets its place.
    pub(crate) fn wait(&self) -> Wait {
        Wait { waits: self.waits, until: self.until, parent: self.parent.clone() }
    }
}
