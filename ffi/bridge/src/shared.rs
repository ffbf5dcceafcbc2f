//! The inside of a runtime: what everything made by it holds on to.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use micro::{Error, Metadata};
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::completion::{Completion, Ending};
use crate::event::EventKind;
use crate::failure::{Failure, Result};
use crate::fork::Stamp;
use crate::guard;
use crate::id::{Id, Kind, SHARDS};
use crate::leases::Leases;
use crate::live::{self, Live};
use crate::log;
use crate::queue::Queue;
use crate::server::Serving;
use crate::slab::Slab;
use crate::status::Status;
use crate::things::{Task, Thing};

/// How often queues are looked at for a host that is stuck.
const ROUND: Duration = Duration::from_secs(1);

/// Keeps ids of all runtimes of the process apart.
pub(crate) static LEASES: LazyLock<Arc<Leases>> = LazyLock::new(|| Arc::new(Leases::new()));

pub(crate) struct Shared {
    stamp: Stamp,
    born: Instant,
    handle: Handle,
    tokio: Mutex<Option<tokio::runtime::Runtime>>,
    pub(crate) things: Slab<Thing>,
    tasks: TaskTracker,
    ends: Mutex<Ends>,
    /// The end has begun.
    closing: AtomicBool,
    /// Whatever begins now is over at once.
    closed: AtomicBool,
    /// Every queue has had its last event.
    over: CancellationToken,
    _live: Live,
}

/// Who has to be told, or waited for, at the end.
#[derive(Debug, Default)]
struct Ends {
    queues: Vec<Weak<Queue>>,
    servers: Vec<Weak<Serving>>,
}

/// How an operation begins, and how its end is told.
pub(crate) struct Operation<'a> {
    queue: &'a Arc<Queue>,
    token: u64,
    named: Kind,
    told: EventKind,
    thing: Thing,
    place: Place,
}

/// A place among the operations that run at once.
pub(crate) enum Place {
    /// None is needed.
    Any,
    /// This one.
    Taken(OwnedSemaphorePermit),
    /// The next that is free; the operation waits for it.
    Next(Arc<Semaphore>),
}

pin_project! {
    /// An operation at work. By hand: an async block would hold the work twice, and moving it costs more than the rest of this.
    struct Working<W> {
        // Dropped before the end is told.
        #[pin]
        work: W,
        // While it waits for its place.
        place: Option<BoxFuture<'static, std::result::Result<OwnedSemaphorePermit, AcquireError>>>,
        end: Option<Completion>,
    }
}

impl<W: Future<Output = Ending>> Future for Working<W> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Some(place) = this.place {
            // Never closed.
            if let (Ok(permit), Some(end)) = (ready!(place.poll_unpin(cx)), this.end.as_mut()) {
                end.hold(permit);
            }
            *this.place = None;
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
    pub(crate) fn new(queue: &'a Arc<Queue>, token: u64, named: Kind, told: EventKind) -> Self {
        Self { queue, token, named, told, thing: Thing::Operation(Task::Coming), place: Place::Any }
    }

    pub(crate) fn thing(self, thing: Thing) -> Self {
        Self { thing, ..self }
    }

    pub(crate) fn place(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

impl Shared {
    pub(crate) fn start(tokio: tokio::runtime::Runtime, workers: usize) -> Arc<Self> {
        let shared = Arc::new(Self {
            stamp: Stamp::now(),
            born: Instant::now(),
            handle: tokio.handle().clone(),
            tokio: Mutex::new(Some(tokio)),
            things: Slab::new(SHARDS.min(workers * 2), LEASES.clone()),
            tasks: TaskTracker::new(),
            ends: Mutex::default(),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            over: CancellationToken::new(),
            _live: Live::new(live::RUNTIME),
        });
        shared.handle.spawn(watch_over(Arc::downgrade(&shared), shared.over.clone()));
        shared
    }

    /// Refuses a child of the process.
    ///
    /// # Errors
    /// [`Status::FORKED`].
    pub(crate) fn check(&self) -> Result<()> {
        self.stamp.check()
    }

    /// Refuses a child of the process, and callers that come after the end. During the grace before it, calls being served may
    /// still make calls of their own.
    ///
    /// # Errors
    /// [`Status::FORKED`], [`Status::CLOSED`].
    pub(crate) fn open(&self) -> Result<()> {
        self.stamp.check()?;
        if self.is_closed() {
            return Err(Failure::closed("runtime"));
        }
        Ok(())
    }

    /// Whatever begins now is over at once.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// How long this runtime has been there.
    pub(crate) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// Remembers whom to tell at the end.
    ///
    /// # Errors
    /// [`Status::CLOSED`] when that is past.
    pub(crate) fn adopt(&self, queue: &Arc<Queue>) -> Result<()> {
        let mut ends = self.ends();
        self.open()?;
        ends.queues.retain(|queue| queue.strong_count() > 0);
        ends.queues.push(Arc::downgrade(queue));
        Ok(())
    }

    /// Remembers whom to stop at the end.
    pub(crate) fn adopt_server(&self, server: &Arc<Serving>) {
        let mut ends = self.ends();
        ends.servers.retain(|server| server.strong_count() > 0);
        ends.servers.push(Arc::downgrade(server));
    }

    /// Begins an operation. `work` is made once the operation has its name; what it comes to, its panic or its end by
    /// cancellation is what the host is told, once.
    ///
    /// # Errors
    /// [`Status::CLOSED`], [`Status::FORKED`], [`Status::FULL`]: nothing has begun then.
    pub(crate) fn begin<W, F>(self: &Arc<Self>, operation: Operation<'_>, work: W) -> Result<Id>
    where
        W: FnOnce(&Completion) -> F,
        F: Future<Output = Ending> + Send + 'static,
    {
        self.open()?;
        let Operation { queue, token, named, told, thing, place } = operation;
        if !queue.is_open() {
            return Err(Failure::closed("queue"));
        }
        let id = self.things.insert(named, thing).ok_or_else(|| {
            Failure::new(Status::FULL, "16 million things are under way: let some of them end")
        })?;
        let mut end = Completion::new(self.clone(), queue.clone(), (id, token), told);
        let work = work(&end);
        let place = match place {
            Place::Any => None,
            // Not by the task: one that is cancelled before it runs still holds its place until that is known.
            Place::Taken(permit) => {
                end.hold(permit);
                None
            }
            Place::Next(places) => Some(places.acquire_owned().boxed()),
        };
        let task = self.tasks.spawn_on(Working { work, place, end: Some(end) }, &self.handle);
        let task = task.abort_handle();
        let mut unwanted = None;
        self.things.change(id, |thing| unwanted = thing.started(task.clone()));
        // Seen by those who abort all, or seen here.
        if unwanted.is_some() || self.is_closed() {
            task.abort();
        }
        Ok(id)
    }

    /// Runs something that tells no event and that ends with the runtime.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn_on(work, &self.handle).abort_handle()
    }

    /// The call that came in, for what is part of it.
    ///
    /// # Errors
    /// [`Status::STALE`] when it is over, [`Status::ARG`] when the id is no call's.
    pub(crate) fn context_of(&self, id: Id) -> Result<micro::Context> {
        match self.things.get(id) {
            Some(Thing::Call(call)) => Ok(call.context().clone()),
            Some(_) => Err(Failure::argument("this is no call that came in")),
            None => Err(Failure::stale()),
        }
    }

    /// Answers a call that came in; of many that try, one does.
    ///
    /// # Errors
    /// [`Status::STALE`], [`Status::ARG`].
    pub(crate) fn answer(
        &self,
        id: Id,
        answer: std::result::Result<bytes::Bytes, Error>,
        trailers: Metadata,
    ) -> Result<()> {
        // Not by its id alone: an id of another kind must not be taken away.
        self.context_of(id)?;
        match self.things.remove(id) {
            Some(Thing::Call(call)) => {
                call.answer(answer, trailers);
                Ok(())
            }
            _ => Err(Failure::stale()),
        }
    }

    /// Answers a call that its handler will not answer.
    pub(crate) fn forget_call(&self, id: Id) {
        let dropped = Error::internal("handler dropped the call").with_id("go.micro.server");
        let _ = self.answer(id, Err(dropped), Metadata::new());
    }

    /// Begins the end, once.
    pub(crate) fn shut_down(self: &Arc<Self>, grace: Duration) {
        if !self.closing.swap(true, Ordering::SeqCst) {
            self.handle.spawn(shut_down(self.clone(), grace));
        }
    }

    /// Waits for the end and lets the threads go. Not for a thread of the runtime.
    pub(crate) fn join(&self, last_wait: Duration) {
        let tokio = self.tokio.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tokio) = tokio {
            tokio.block_on(self.over.cancelled());
            tokio.shutdown_timeout(last_wait);
        }
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queues(&self) -> Vec<Arc<Queue>> {
        self.ends().queues.iter().filter_map(Weak::upgrade).collect()
    }

    /// Ends what is under way, whichever side began it.
    fn end_all(&self) {
        for (id, thing) in self.things.all() {
            match thing {
                Thing::Operation(Task::Running(task)) | Thing::Stream(_, Task::Running(task)) => {
                    task.abort();
                }
                Thing::Call(call) if self.things.remove(id).is_some() => call.abandon(id),
                _ => {}
            }
        }
    }
}

async fn shut_down(shared: Arc<Shared>, grace: Duration) {
    let until = micro::deadline_after(grace);
    let servers: Vec<_> = shared.ends().servers.iter().filter_map(Weak::upgrade).collect();
    join_all(servers.iter().map(|server| server.stop_by(until))).await;
    shared.tasks.close();
    let _ = tokio::time::timeout_at(until, shared.tasks.wait()).await;
    {
        let _ends = shared.ends();
        shared.closed.store(true, Ordering::SeqCst);
    }
    shared.end_all();
    shared.tasks.wait().await;
    for queue in shared.queues() {
        log::leave(&queue);
        queue.finish();
    }
    shared.over.cancel();
}

/// Looks at the queues now and then, until the end.
async fn watch_over(shared: Weak<Shared>, over: CancellationToken) {
    let mut rounds = tokio::time::interval(ROUND);
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            _ = rounds.tick() => {}
        }
        let Some(shared) = shared.upgrade() else { return };
        for queue in shared.queues() {
            queue.watch_over(shared.age());
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let tokio = self.tokio.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        match tokio {
            // Its threads are not in this process.
            Some(tokio) if self.stamp.is_foreign() => std::mem::forget(tokio),
            // This may be one of its own threads, which cannot wait for itself.
            Some(tokio) => tokio.shutdown_background(),
            None => {}
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("closing", &self.closing.load(Ordering::SeqCst))
            .field("tasks", &self.tasks.len())
            .finish()
    }
}
