//! How an operation begins, and the way it goes to its end.

use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;

use crate::completion::{Completion, Ending};
use crate::event::EventKind;
use crate::failure::{Failure, Result};
use crate::flow::Flow;
use crate::guard;
use crate::id::{Id, IdKind};
use crate::queue::Queue;
use crate::shared::Shared;
use crate::status::Status;
use crate::things::{Task, Thing};

/// An operation about to begin.
pub(crate) struct Operation<'a> {
    queue: &'a Arc<Queue>,
    token: u64,
    kind: IdKind,
    told: EventKind,
    flow: Option<Arc<dyn Flow>>,
    place: Place,
}

/// A place among the operations of a kind that run at once.
pub(crate) enum Place {
    /// None is needed.
    Any,
    /// This one.
    Taken(OwnedSemaphorePermit),
    /// The next that is free, or why the operation waits for it no longer.
    Next(BoxFuture<'static, micro::Result<OwnedSemaphorePermit>>),
}

pin_project! {
    /// An operation at work. By hand: an async block would hold the work twice, and moving it costs more than the rest of this.
    struct Working<W> {
        // Dropped before the end is told.
        #[pin]
        work: W,
        // While it waits for its place.
        place: Option<BoxFuture<'static, micro::Result<OwnedSemaphorePermit>>>,
        end: Option<Completion>,
    }
}

impl<W: Future<Output = Ending>> Future for Working<W> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Some(place) = this.place {
            let place = ready!(place.poll_unpin(cx));
            *this.place = None;
            match (place, this.end.as_mut()) {
                (Ok(permit), Some(end)) => end.hold(permit),
                (Err(error), _) => {
                    if let Some(end) = this.end.take() {
                        end.finish(error.into());
                    }
                    return Poll::Ready(());
                }
                (Ok(_), None) => {}
            }
        }
        let ending = match panic::catch_unwind(AssertUnwindSafe(|| this.work.poll(cx))) {
            Ok(ending) => ready!(ending),
            Err(panic) => Failure::new(Status::PANIC, guard::text(panic.as_ref())).into(),
        };
        if let Some(end) = this.end.take() {
            end.finish(ending);
        }
        Poll::Ready(())
    }
}

impl<'a> Operation<'a> {
    /// An operation of `kind`, the end of which is told to `queue` as `told`.
    pub(crate) fn new(queue: &'a Arc<Queue>, token: u64, kind: IdKind, told: EventKind) -> Self {
        Self { queue, token, kind, told, flow: None, place: Place::Any }
    }

    /// What its messages go through.
    pub(crate) fn flow(self, flow: Arc<dyn Flow>) -> Self {
        Self { flow: Some(flow), ..self }
    }

    pub(crate) fn place(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// Begins. `work` is made once the operation has its name; what it comes to, its panic or its end by cancellation is what
    /// the host is told, once.
    ///
    /// # Errors
    /// [`Status::CLOSED`], [`Status::FORKED`], [`Status::FULL`]: nothing has begun then.
    pub(crate) fn begin<W, F>(self, shared: &Arc<Shared>, work: W) -> Result<Id>
    where
        W: FnOnce(&Completion) -> F,
        F: Future<Output = Ending> + Send + 'static,
    {
        shared.open()?;
        let Operation { queue, token, kind, told, flow, place } = self;
        if !queue.is_open() {
            return Err(Failure::closed("queue"));
        }
        let thing = Thing::Operation(Task::Coming, flow);
        let id = shared.things.insert(kind, thing).ok_or_else(|| {
            Failure::new(Status::FULL, "16 million things are under way: let some of them end")
        })?;
        let mut end = Completion::new(shared.clone(), queue.clone(), (id, token), told);
        let work = work(&end);
        let place = match place {
            Place::Any => None,
            // Not by the task: one that is cancelled before it runs still holds its place until that is known.
            Place::Taken(permit) => {
                end.hold(permit);
                None
            }
            Place::Next(place) => Some(place),
        };
        let task = shared.tasks.spawn_on(Working { work, place, end: Some(end) }, shared.handle());
        let task = task.abort_handle();
        let mut unwanted = None;
        shared.things.change(id, |thing| unwanted = thing.started(task.clone()));
        // Seen by those who abort all, or seen here.
        if unwanted.is_some() || shared.is_closed() {
            task.abort();
        }
        Ok(id)
    }
}
