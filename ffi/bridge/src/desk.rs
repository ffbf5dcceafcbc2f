//! What calls and questions need of the client that begins them: the runtime, and places among those that run at once.

use std::sync::Arc;

use futures_util::FutureExt as _;
use micro::{Code, Context, Error};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::failure::{Failure, Result};
use crate::id::Id;
use crate::operation::Place;
use crate::shared::Shared;
use crate::status::Status;
use crate::within::{parent_is_over, within};

/// Calls and streams of one client that may be under way at once, unless set; also what it asks, and what it follows, each by
/// itself.
pub(crate) const IN_FLIGHT: usize = 1024;

/// Where a client's operations begin.
pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    calls: Arc<Semaphore>,
    messages: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    follows: Arc<Semaphore>,
}

/// How an operation gets its place.
pub(crate) struct Wait {
    /// Waits for a place where there is none, instead of failing at once.
    pub(crate) waits: bool,
    /// Until when it waits.
    pub(crate) until: Option<Instant>,
    /// The call it is part of, with which it ends.
    pub(crate) parent: Option<Context>,
}

impl Desk {
    /// A desk with so many places for calls and streams, and as many for messages.
    pub(crate) fn new(shared: Arc<Shared>, calls: usize) -> Self {
        let places =
            |places: usize| Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            shared,
            calls: places(calls),
            messages: places(calls),
            questions: places(IN_FLIGHT),
            follows: places(IN_FLIGHT),
        }
    }

    /// The call that came in which `id` names; `None` for no id.
    ///
    /// # Errors
    /// `CANCELLED` when it is over, [`Status::ARG`] when the id is no call's.
    pub(crate) fn parent(&self, id: Id) -> Result<Option<Context>> {
        if id.is_none() {
            return Ok(None);
        }
        self.shared.context_of(id).map(Some).map_err(|failure| {
            if failure.status() == Status::STALE { parent_is_over().into() } else { failure }
        })
    }

    /// A place among the calls and streams.
    ///
    /// # Errors
    /// [`Status::FULL`] for those that do not wait.
    pub(crate) fn call(&self, wait: Wait) -> Result<Place> {
        place(
            &self.calls,
            wait,
            "as many operations are under way as this client may have (max_in_flight): drain the queue, or let the request wait",
        )
    }

    /// A place among the messages that are being published.
    ///
    /// # Errors
    /// As [`Desk::call`].
    pub(crate) fn message(&self, wait: Wait) -> Result<Place> {
        place(
            &self.messages,
            wait,
            "as many messages are being published as this client may have under way (max_in_flight): drain the queue, or let the message wait",
        )
    }

    /// A place among the questions.
    ///
    /// # Errors
    /// As [`Desk::call`].
    pub(crate) fn question(&self, wait: Wait) -> Result<Place> {
        place(
            &self.questions,
            wait,
            "1024 questions of this client are under way: drain the queue, or let the question wait",
        )
    }

    /// A place among what is followed.
    ///
    /// # Errors
    /// As [`Desk::call`].
    pub(crate) fn follow(&self, wait: Wait) -> Result<Place> {
        place(
            &self.follows,
            wait,
            "this client follows 1024 things: cancel some of them, or let the question wait",
        )
    }
}

fn place(places: &Arc<Semaphore>, wait: Wait, full: &'static str) -> Result<Place> {
    let Wait { waits, until, parent } = wait;
    match places.clone().try_acquire_owned() {
        Ok(permit) => Ok(Place::Taken(permit)),
        Err(_) if !waits => Err(Failure::new(Status::FULL, full)),
        Err(_) => {
            let next = places.clone().acquire_owned();
            let next = async move {
                let permit = match until {
                    Some(until) => {
                        tokio::time::timeout_at(until, next).await.map_err(|_| late())?
                    }
                    None => next.await,
                };
                permit.map_err(|_| Error::internal("places are never closed"))
            };
            Ok(Place::Next(within(parent, Box::pin(next)).boxed()))
        }
    }
}

fn late() -> Error {
    Error::new(
        Code::DeadlineExceeded,
        "the deadline passed while other operations of this client had every place: raise max_in_flight, or drain the queue",
    )
    .with_id("go.micro.client")
}
