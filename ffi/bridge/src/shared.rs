//! The inside of a runtime: what everything made by it holds on to.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use micro::broker::{Delivery, Verdict};
use micro::{Error, Metadata};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant as Deadline;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::{Failure, Result};
use crate::id::{Id, SHARDS};
use crate::leases::LEASES;
use crate::live::{self, Live};
use crate::log;
use crate::queue::Queue;
use crate::slab::Slab;
use crate::stamp::Stamp;
use crate::things::{Task, Thing};

/// How long a broker may take to hear what became of a message: the end of a runtime waits for it.
const SETTLING: Duration = Duration::from_secs(30);

/// How often queues are looked at for a host that is stuck.
const ROUND: Duration = Duration::from_secs(1);

pub(crate) struct Shared {
    stamp: Stamp,
    born: Instant,
    handle: Handle,
    tokio: Mutex<Option<tokio::runtime::Runtime>>,
    pub(crate) things: Slab<Thing>,
    pub(crate) tasks: TaskTracker,
    ends: Mutex<Ends>,
    /// The end has begun.
    closing: AtomicBool,
    /// Whatever begins now is over at once.
    closed: AtomicBool,
    /// Every queue has had its last event.
    over: CancellationToken,
    _live: Live,
}

/// What has to be told, or waited for, at the end.
#[derive(Default)]
struct Ends {
    queues: Vec<Weak<Queue>>,
    servers: Vec<Weak<dyn Stop>>,
}

/// What is stopped in order at the end.
pub(crate) trait Stop: Send + Sync {
    /// Stops in order, or at `until` whatever still runs.
    fn stop_by(self: Arc<Self>, until: Deadline) -> BoxFuture<'static, ()>;
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
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub(crate) fn check(&self) -> Result<()> {
        self.stamp.check()
    }

    /// Refuses a child of the process, and callers that come after the end. During the grace before it, calls being served may
    /// still make calls of their own.
    ///
    /// # Errors
    /// [`Status::FORKED`](crate::Status::FORKED), [`Status::CLOSED`](crate::Status::CLOSED).
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

    /// A queue, which is told of the end.
    ///
    /// # Errors
    /// [`Status::CLOSED`](crate::Status::CLOSED) when that is past.
    pub(crate) fn queue(&self) -> Result<Arc<Queue>> {
        let mut ends = self.ends();
        self.open()?;
        let queue = Queue::inside(self.stamp, self.born, &self.handle);
        ends.queues.retain(|queue| queue.strong_count() > 0);
        ends.queues.push(Arc::downgrade(&queue));
        Ok(queue)
    }

    /// Has a server stopped at the end.
    pub(crate) fn adopt_server(&self, server: Weak<dyn Stop>) {
        let mut ends = self.ends();
        ends.servers.retain(|server| server.strong_count() > 0);
        ends.servers.push(server);
    }

    /// Runs something that tells no event and that ends with the runtime.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn_on(work, &self.handle).abort_handle()
    }

    /// The call that came in, for what is part of it.
    ///
    /// # Errors
    /// [`Status::STALE`](crate::Status::STALE) when it is over, [`Status::ARG`](crate::Status::ARG) when the id is no call's.
    pub(crate) fn context_of(&self, id: Id) -> Result<micro::Context> {
        match self.things.get(id) {
            Some(Thing::Call(call)) => Ok(call.context().clone()),
            Some(_) => Err(Failure::argument("this is no call that came in")),
            None => Err(Failure::stale()),
        }
    }

    /// Begins the answer of a stream.
    ///
    /// # Errors
    /// [`Status::STALE`](crate::Status::STALE), [`Status::ARG`](crate::Status::ARG).
    pub(crate) fn begin(&self, id: Id) -> Result<()> {
        match self.things.get(id) {
            Some(Thing::Call(call)) => call.begin(),
            Some(_) => Err(Failure::argument("this is no call that came in")),
            None => Err(Failure::stale()),
        }
    }

    /// Answers a call that came in; of many that try, one does.
    ///
    /// # Errors
    /// [`Status::STALE`](crate::Status::STALE), [`Status::ARG`](crate::Status::ARG).
    pub(crate) fn answer(
        &self,
        id: Id,
        answer: Result<Bytes, Error>,
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

    /// Tells a broker what became of a message.
    pub(crate) fn settle(&self, delivery: Delivery, verdict: Verdict) {
        let topic = delivery.delivered.message.topic.clone();
        let mut settling = Box::pin(async move {
            let settled = tokio::time::timeout(SETTLING, delivery.settle(verdict)).await;
            let late = |_| Err(Error::unavailable("it did not answer in time"));
            if let Err(error) = settled.unwrap_or_else(late) {
                tracing::warn!(target: "micro::bridge", topic, %error,
                    "the broker was not told what became of a message, and may deliver it again");
            }
        });
        // Begun at once, so that it is said before the end of its subscription, should that be next.
        let _runtime = self.handle.enter();
        if (&mut settling).now_or_never().is_none() {
            self.spawn(settling);
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
                Thing::Operation(Task::Running(task), _) => task.abort(),
                Thing::Call(call) if self.things.remove(id).is_some() => call.abandon(id),
                Thing::Delivery(_) => drop(self.things.remove(id)),
                _ => {}
            }
        }
    }
}

async fn shut_down(shared: Arc<Shared>, grace: Duration) {
    let until = micro::deadline_after(grace);
    let servers: Vec<_> = shared.ends().servers.iter().filter_map(Weak::upgrade).collect();
    join_all(servers.into_iter().map(|server| server.stop_by(until))).await;
    shared.tasks.close();
    let _ = tokio::time::timeout_at(until, shared.tasks.wait()).await;
    {
        let _ends = shared.ends();
        shared.closed.store(true, Ordering::SeqCst);
    }
    shared.end_all();
    shared.tasks.wait().await;
    for queue in shared.queues() {
        log::leave(&*queue);
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
            queue.watch_over();
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
