//! The one end of an operation.

use std::sync::Arc;

use bytes::Bytes;
use micro::{Error, Metadata};
use tokio::sync::OwnedSemaphorePermit;

use crate::event::{Event, EventKind, Held};
use crate::failure::Failure;
use crate::id::Id;
use crate::live::{self, Live};
use crate::metadata::pack_both;
use crate::queue::Queue;
use crate::shared::Shared;

/// Owns the end of an operation: whatever becomes of the operation, dropping this tells the host. It lives outside of the
/// operation's future and inside of its task, so success, failure, a panic, cancellation and the end of the runtime all
/// come by here, and only one of them gets to speak.
#[derive(Debug)]
pub(crate) struct Completion {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    id: Id,
    token: u64,
    kind: EventKind,
    permit: Option<OwnedSemaphorePermit>,
    told: bool,
    live: Option<Live>,
}

/// What an operation ends with.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) flags: u16,
    pub(crate) payload: Bytes,
    pub(crate) meta: Bytes,
    pub(crate) failure: Option<Failure>,
}

impl Ending {
    /// The operation did what it should, and this is what came out.
    pub(crate) fn payload(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        let none = Metadata::new();
        let meta = match failure.core() {
            Some(error) => {
                let (headers, trailers) = (error.headers(), error.trailers());
                pack_both(headers.unwrap_or(&none), trailers.unwrap_or(&none))
            }
            None => Bytes::new(),
        };
        Self { meta, failure: Some(failure), ..Self::default() }
    }
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

impl Completion {
    /// The end of the operation `id`, told to `queue` as an event of `kind`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: Arc<Queue>,
        (id, token): (Id, u64),
        kind: EventKind,
    ) -> Self {
        let live = Some(Live::new(live::OPERATION));
        Self { shared, queue, id, token, kind, permit: None, told: false, live }
    }

    /// Holds the operation's permit until the host has drained its end.
    pub(crate) fn hold(&mut self, permit: OwnedSemaphorePermit) {
        self.permit = Some(permit);
    }

    /// Name of the operation.
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// Tells what happens before the end.
    pub(crate) fn teller(&self) -> Teller {
        Teller { queue: self.queue.clone(), id: self.id, token: self.token }
    }

    /// Tells the end.
    pub(crate) fn finish(mut self, ending: Ending) {
        self.end(ending);
    }

    fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        // First the id: a program that learns of the end finds it gone.
        self.shared.things.remove(self.id);
        let held =
            self.permit.take().map_or(Held::Nothing, |permit| Held::Permit { _permit: permit });
        let Ending { flags, payload, meta, failure } = ending;
        let event =
            Event { flags, payload, meta, held, ..Event::new(self.kind, self.token, self.id) };
        // The thread that drains the end finds it no longer counted.
        self.live = None;
        if live::count(live::OPERATION) == 0 {
            // There is none whose end might come right behind.
            self.queue.push_now(event.ended(failure));
        } else {
            self.queue.push(event.ended(failure));
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if !self.told {
            self.end(Error::cancelled("the operation was cancelled").with_id("micro").into());
        }
    }
}

/// Tells the host what happens to an operation before its end.
#[derive(Debug, Clone)]
pub(crate) struct Teller {
    queue: Arc<Queue>,
    id: Id,
    token: u64,
}

impl Teller {
    /// An event of `kind`; false when the queue is closed.
    pub(crate) fn tell(&self, kind: EventKind, change: impl FnOnce(&mut Event)) -> bool {
        let mut event = Event::new(kind, self.token, self.id);
        change(&mut event);
        self.queue.push(event)
    }
}
