//! What comes out of a queue.

use std::sync::Arc;

use bytes::Bytes;
use micro::{Codec, Hold};
use tokio::sync::OwnedSemaphorePermit;

use crate::failure::Failure;
use crate::id::Id;
use crate::inbound::Inbound;
use crate::request::NO_TIMEOUT;
use crate::shared::Shared;
use crate::status::Status;

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

/// Bits of [`Event::flags`].
pub mod flags {
    use micro::Codec;

    /// Protobuf, or whatever bytes.
    pub const PROTO: u16 = 0;
    /// JSON.
    pub const JSON: u16 = 1;
    /// Bytes as they are.
    pub const BYTES: u16 = 2;
    /// UTF-8 text.
    pub const TEXT: u16 = 3;
    /// The bits of the codec.
    pub const CODEC: u16 = 0xf;
    /// The message came compressed.
    pub const COMPRESSED: u16 = 0x10;

    /// The bits of a codec.
    pub fn of(codec: Codec) -> u16 {
        match codec {
            Codec::Json => JSON,
            Codec::Bytes => BYTES,
            Codec::Text => TEXT,
            _ => PROTO,
        }
    }

    /// The codec of the bits; `None` for unknown bits.
    pub fn codec(bits: u16) -> Option<Codec> {
        Some(match bits & CODEC {
            PROTO => Codec::Proto,
            JSON => Codec::Json,
            BYTES => Codec::Bytes,
            TEXT => Codec::Text,
            _ => return None,
        })
    }
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
    /// A place in a bounded number; free again when the event is drained.
    Place {
        _permit: OwnedSemaphorePermit,
    },
    /// A call that the host has not seen yet; it is answered if the host never does.
    Unseen(Unseen),
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

/// A call that came in and waits in a queue.
#[derive(Debug)]
pub(crate) struct Unseen {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: Id,
    /// The host's from now on, unless it has been told already that it is not.
    pub(crate) call: Option<Arc<Inbound>>,
    pub(crate) _place: OwnedSemaphorePermit,
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if self.call.is_some() {
            self.shared.forget_call(self.id);
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

    /// The host has it: places are free again, and a call is the host's to answer. False for a call that was over before the
    /// host could see it.
    pub(crate) fn take(&mut self) -> bool {
        if let Held::Unseen(unseen) = &mut self.held
            && let Some(call) = unseen.call.take()
        {
            if !call.see() {
                return false;
            }
            // The caller has waited while the call lay in the queue.
            if let Some(left) = call.context().remaining() {
                self.timeout_ns = u64::try_from(left.as_nanos()).unwrap_or(NO_TIMEOUT - 1);
            }
        }
        self.held = Held::Nothing;
        true
    }
}
