//! What comes out of a queue.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use micro::{Codec, Hold};
use tokio::sync::OwnedSemaphorePermit;

use crate::failure::Failure;
use crate::flags;
use crate::id::Id;
use crate::status::Status;

/// No deadline: of a request, and of a call that came in.
pub const NO_TIMEOUT: u64 = u64::MAX;

/// What an event tells. Kinds are only ever added; a host skips one it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum EventKind {
    /// *Terminal.* A unary call or another operation with one answer is over. Payload: the answer. Meta: headers, then
    /// trailers.
    Reply = 1,
    /// A stream's headers came (meta), a watch runs, or a server listens (payload: its registry record as JSON).
    Opened = 2,
    /// A message of a stream (payload).
    Message = 3,
    /// *Terminal* for what this side opened: streams (meta: headers, then trailers), watches, servers. For a call that came
    /// in: the caller has sent its last message.
    End = 4,
    /// A call came in: `id` names it, `method` is the endpoint. Payload: its one message, unless it streams. Meta: headers.
    Call = 5,
    /// The caller no longer waits for the call that came in: it was cancelled or its deadline passed. The last event of its id.
    CallCancelled = 6,
    /// A message of a topic.
    Delivery = 7,
    /// A watch saw a change (payload: JSON).
    Change = 8,
    /// A stream that was full takes messages again.
    Writable = 9,
    /// Memory that the host lent is no longer used.
    Release = 10,
    /// Log records (payload: a JSON array).
    Log = 11,
    /// *Terminal.* The last event of the queue.
    Closed = 12,
}

/// Something a host is told. Fields that a kind does not mention are empty.
#[derive(Debug)]
pub struct Event {
    /// What is told.
    pub kind: EventKind,
    /// [`flags`] of the message.
    pub flags: u16,
    /// How a terminal event ended.
    pub status: Status,
    /// The call, stream or watch.
    pub id: Id,
    /// The number the host gave when it submitted the operation or started the server.
    pub token: u64,
    /// Endpoint of a call, as its registration numbered it.
    pub method: u32,
    /// Nanoseconds the caller still waits; [`NO_TIMEOUT`] when it waits for ever.
    pub timeout_ns: u64,
    /// The message, or JSON.
    pub payload: Bytes,
    /// Blocks of metadata, see [`crate::pack`].
    pub meta: Bytes,
    /// Why a terminal event has a status other than OK.
    pub failure: Option<Box<Failure>>,
    pub(crate) held: Held,
}

/// What an event gives back, or gives up, on its way out of the queue.
#[derive(Debug)]
pub(crate) enum Held {
    Nothing,
    /// One of a bounded number; free again when the event is drained.
    Permit {
        _permit: OwnedSemaphorePermit,
    },
    /// A call or a message that the host has not seen yet.
    Waiting(Waiting),
    /// Bytes of a message, which count among those that are held until the host has it.
    Bytes {
        _hold: Hold,
    },
}

impl Held {
    pub(crate) fn of(hold: Option<Hold>) -> Self {
        hold.map_or(Self::Nothing, |hold| Self::Bytes { _hold: hold })
    }
}

/// Something that the host has to answer once it has seen it.
pub(crate) trait Unseen: fmt::Debug + Send + Sync {
    /// The host sees it. Nanoseconds its sender still waits, [`NO_TIMEOUT`] for ever; `None` when it is over already.
    fn see(&self) -> Option<u64>;

    /// The host never will: it is answered for the host.
    fn forget(&self, id: Id);
}

/// A call or a message that came in and waits in a queue; forgotten when it is dropped there.
#[derive(Debug)]
pub(crate) struct Waiting {
    id: Id,
    unseen: Option<Arc<dyn Unseen>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Waiting {
    pub(crate) fn new(
        id: Id,
        unseen: Arc<dyn Unseen>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { id, unseen: Some(unseen), _permit: permit }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(unseen) = &self.unseen {
            unseen.forget(self.id);
        }
    }
}

impl Event {
    pub(crate) fn new(kind: EventKind, token: u64, id: Id) -> Self {
        Self {
            kind,
            flags: 0,
            status: Status::OK,
            id,
            token,
            method: 0,
            timeout_ns: NO_TIMEOUT,
            payload: Bytes::new(),
            meta: Bytes::new(),
            failure: None,
            held: Held::Nothing,
        }
    }

    pub(crate) fn ended(mut self, failure: impl Into<Option<Failure>>) -> Self {
        if let Some(failure) = failure.into() {
            self.status = failure.status();
            self.failure = Some(Box::new(failure));
        }
        self
    }

    /// The codec of the payload.
    pub fn codec(&self) -> Codec {
        flags::codec(self.flags).unwrap_or_default()
    }

    /// The host has it: permits are free again, and a call is the host's to answer. False for a call or a message that was over
    /// before the host could see it.
    pub(crate) fn take(&mut self) -> bool {
        if let Held::Waiting(waiting) = &mut self.held
            && let Some(unseen) = waiting.unseen.take()
        {
            // The caller has waited while the call lay in the queue.
            match unseen.see() {
                Some(left) => self.timeout_ns = left,
                None => return false,
            }
        }
        self.held = Held::Nothing;
        true
    }
}
