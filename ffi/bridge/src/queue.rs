//! The completion queue: everything a host is told.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::event::{Event, EventKind};
use crate::failure::{Failure, Result};
use crate::id::Id;
use crate::inbox::{Bell, Chime, Inbox, Left};
use crate::live::{self, Live};
use crate::log::{self, Listener};
use crate::stamp::Stamp;
use crate::threads::Threads;
use crate::wake::Wake;

/// Most events of one drain, so that a host's loop gets to do something else.
const MAX_BATCH: usize = 1024;
/// Calls that may wait in a queue for a host to see them.
const UNSEEN: usize = 16 * 1024;
/// How long the oldest event may wait before a warning.
const PATIENCE: Duration = Duration::from_secs(5);

/// Events for one host: an event loop, a thread or a group of threads.
///
/// Any thread may submit to it. One at a time should drain it; several are safe, and see each its own events.
pub struct Queue {
    inbox: Inbox<Event, Bells>,
    stamp: Stamp,
    /// Since when its runtime has been there.
    born: Instant,
    /// Told that something was left in the inbox.
    left: Arc<Notify>,
    /// The buffer that changes places with the inbox's.
    batch: Mutex<VecDeque<Event>>,
    /// Since when something has waited, in milliseconds of the runtime, plus one; 0 when nothing does.
    since: AtomicU64,
    warned: AtomicBool,
    /// Permits for calls that the host has not seen.
    unseen: Arc<Semaphore>,
    /// Its host has closed it.
    gone: CancellationToken,
    /// Those of [`Queue::run`].
    pub(crate) threads: Mutex<Option<Threads>>,
    _live: Live,
}

/// Everything that can be rung.
#[derive(Default)]
pub(crate) struct Bells {
    #[cfg(unix)]
    descriptor: Option<Arc<crate::wake::Descriptor>>,
    callback: Option<Box<dyn Wake>>,
}

impl Bell for Bells {
    #[cfg(unix)]
    type Chime = Arc<crate::wake::Descriptor>;
    #[cfg(not(unix))]
    type Chime = ();

    fn ring(&self) -> Option<Self::Chime> {
        if let Some(callback) = &self.callback {
            callback.wake();
        }
        #[cfg(unix)]
        return self.descriptor.clone();
        #[cfg(not(unix))]
        return None;
    }

    fn silence(&self) -> usize {
        if let Some(callback) = &self.callback {
            callback.clear();
        }
        #[cfg(unix)]
        return self.descriptor.as_ref().map_or(0, |descriptor| descriptor.clear());
        #[cfg(not(unix))]
        return 0;
    }
}

#[cfg(unix)]
impl Chime for Arc<crate::wake::Descriptor> {
    fn sound(&self) {
        self.write();
    }
}

#[cfg(not(unix))]
impl Chime for () {
    fn sound(&self) {}
}

impl Queue {
    /// A queue of the runtime that `handle` belongs to, which was made in the process of `stamp` at `born`.
    pub(crate) fn inside(stamp: Stamp, born: Instant, handle: &Handle) -> Arc<Self> {
        let queue = Arc::new(Self {
            inbox: Inbox::new(Bells::default()),
            stamp,
            born,
            left: Arc::default(),
            batch: Mutex::default(),
            since: AtomicU64::new(0),
            warned: AtomicBool::new(false),
            unseen: Arc::new(Semaphore::new(UNSEEN)),
            gone: CancellationToken::new(),
            threads: Mutex::default(),
            _live: Live::new(live::QUEUE),
        });
        handle.spawn(ring(Arc::downgrade(&queue), queue.left.clone()));
        queue
    }

    /// A descriptor that is readable while the queue holds something. It belongs to the queue: do not read or close it; a
    /// drain makes it unreadable.
    ///
    /// # Errors
    /// [`Status::FORKED`](crate::Status::FORKED), or what the system says when there are no descriptors left.
    #[cfg(unix)]
    pub fn descriptor(&self) -> Result<std::os::fd::RawFd> {
        self.stamp.check()?;
        self.inbox.change_bell(|bells| {
            let descriptor = match bells.descriptor.take() {
                Some(descriptor) => descriptor,
                None => Arc::new(
                    crate::wake::Descriptor::new()
                        .map_err(|error| Failure::from(micro::Error::from(error)))?,
                ),
            };
            Ok(bells.descriptor.insert(descriptor).raw())
        })
    }

    /// There is no descriptor on this system.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(unix))]
    pub fn descriptor(&self) -> Result<i32> {
        Err(Failure::argument("queues have no descriptor on this system: wait, run or set_wake"))
    }

    /// Calls `wake` when the queue is no longer empty, and again after a drain that left something. It takes the place of
    /// the one before, which is dropped.
    ///
    /// # Errors
    /// [`Status::FORKED`](crate::Status::FORKED); [`Status::CLOSED`](crate::Status::CLOSED) after the end, when there is nothing to wake for.
    pub fn set_wake(&self, wake: impl Wake) -> Result<()> {
        self.stamp.check()?;
        if !self.inbox.is_open() {
            return Err(Failure::closed("queue"));
        }
        // Dropped when the queue is unlocked again: it is the host's.
        let _before = self.inbox.change_bell(|bells| bells.callback.replace(Box::new(wake)));
        Ok(())
    }

    /// Calls `each` with up to `max` events, oldest first; returns how many. Takes at most 1 024 at a time, and none
    /// in a child of its process.
    pub fn drain(&self, max: usize, each: impl FnMut(Event)) -> usize {
        if self.stamp.check().is_err() {
            return 0;
        }
        self.hand_over(each, |batch| self.inbox.drain(batch, max.min(MAX_BATCH))).0
    }

    /// As [`Queue::drain`], once there is something, the queue is closed or `timeout` is over; `None` waits for ever. Blocks:
    /// never to be called where blocking is forbidden.
    pub fn wait(
        &self,
        max: usize,
        timeout: Option<Duration>,
        mut each: impl FnMut(Event),
    ) -> usize {
        if self.stamp.check().is_err() {
            return 0;
        }
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let take = |batch: &mut _| self.inbox.wait(batch, max.min(MAX_BATCH), until);
            let (told, taken) = self.hand_over(&mut each, take);
            // Calls that were over before the host saw them are not worth waking up for.
            if told > 0 || taken == 0 {
                return told;
            }
        }
    }

    /// Returns how many events the host was told, and how many were taken from the inbox.
    fn hand_over(
        &self,
        mut each: impl FnMut(Event),
        take: impl FnOnce(&mut VecDeque<Event>) -> Left,
    ) -> (usize, usize) {
        // A thread that drains while another does has a buffer of its own.
        let mut kept = self.batch.try_lock();
        let mut own = VecDeque::new();
        let batch = match &mut kept {
            Ok(kept) => &mut **kept,
            Err(_) => &mut own,
        };
        if take(batch) == Left::Never {
            self.give_wake_back();
        }
        let taken = batch.len();
        if taken > 0 {
            self.note_drained();
        }
        let mut told = 0;
        for mut event in batch.drain(..) {
            if !event.take() {
                continue;
            }
            if event.kind == EventKind::Log {
                event.payload = log::take();
            }
            told += 1;
            each(event);
        }
        (told, taken)
    }

    /// Closes the queue: what is in it is dropped, calls that the host has not seen are answered, and nothing more comes in.
    /// Operations under way go on, and their end is not told.
    ///
    /// # Errors
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn close(&self) -> Result<()> {
        self.stamp.check()?;
        log::leave(self);
        drop(self.inbox.shut());
        self.gone.cancel();
        self.give_wake_back();
        Ok(())
    }

    /// Closes the queue, and waits for the threads of [`Queue::run`]. Blocks for as long as what they tell events to runs.
    pub fn free(&self) {
        if self.close().is_ok() {
            let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Waits for them, and they may look at the queue.
            drop(threads);
        }
    }

    /// Returns once its host has closed it.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Events that wait; none in a child of its process.
    pub fn len(&self) -> usize {
        // The threads that may hold its lock are not there.
        self.stamp.check().map_or(0, |()| self.inbox.look(VecDeque::len))
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long the oldest event has waited, within a second; zero when none does, and in a child of its process.
    pub fn age(&self) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            _ if self.stamp.check().is_err() => Duration::ZERO,
            0 => Duration::ZERO,
            since => self.born.elapsed().saturating_sub(Duration::from_millis(since - 1)),
        }
    }

    /// False after [`Queue::close`], after the runtime has ended, and in a child of its process.
    pub fn is_open(&self) -> bool {
        self.stamp.check().is_ok() && self.inbox.is_open()
    }

    /// Refuses a child of the process.
    ///
    /// # Errors
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn check(&self) -> Result<()> {
        self.stamp.check()
    }

    /// Receives log records, instead of whichever queue did.
    ///
    /// # Errors
    /// As [`Queue::set_wake`].
    pub fn receive_logs(self: &Arc<Self>) -> Result<()> {
        self.stamp.check()?;
        if !self.inbox.is_open() {
            return Err(Failure::closed("queue"));
        }
        log::deliver_to(self);
        Ok(())
    }

    /// Adds an event; false, and the event is dropped, when the queue is closed.
    pub(crate) fn push(&self, event: Event) -> bool {
        self.add(event, || self.left.notify_one())
    }

    /// As [`Queue::push`], and rings at once: nothing will come right behind that the host could take with it.
    pub(crate) fn push_now(&self, event: Event) -> bool {
        self.add(event, || self.inbox.ring())
    }

    fn add(&self, event: Event, ring: impl FnOnce()) -> bool {
        match self.inbox.leave(event) {
            Ok(first) => {
                if first {
                    ring();
                }
                true
            }
            // Dropped outside of the inbox's lock: it may be a call that has to be answered.
            Err(_) => false,
        }
    }

    /// The runtime is over: one last event. The host is woken until it has drained it.
    pub(crate) fn finish(&self) {
        self.inbox.close(Some(Event::new(EventKind::Closed, 0, Id::NONE)));
    }

    /// A permit for a call that the host has not seen; `None` when it has let too many of them wait.
    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.unseen.clone().try_acquire_owned().ok()
    }

    /// Nothing will come any more, so no thread is to be woken.
    fn give_wake_back(&self) {
        let _wake = self.inbox.change_bell(|bells| bells.callback.take());
    }

    /// Looked at now and then: warns once about a host that has stopped draining.
    pub(crate) fn watch_over(&self) {
        let waiting = self.len();
        if waiting == 0 {
            self.since.store(0, Ordering::Relaxed);
            return;
        }
        let stamp =
            u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let _ = self.since.compare_exchange(0, stamp, Ordering::Relaxed, Ordering::Relaxed);
        let waited = self.age();
        if waited >= PATIENCE && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "micro::bridge",
                waiting,
                waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                "a queue is not drained: calls wait until its host is free again"
            );
        }
    }

    fn note_drained(&self) {
        self.since.store(0, Ordering::Relaxed);
        // The next time the host is stuck is another time.
        self.warned.store(false, Ordering::Relaxed);
    }
}

/// Rings a queue when whatever is ready to run has run. A host that is woken by the first of many events would take that one
/// alone, and on a busy machine push the rest aside to do so.
async fn ring(queue: Weak<Queue>, left: Arc<Notify>) {
    loop {
        left.notified().await;
        tokio::task::yield_now().await;
        match queue.upgrade() {
            Some(queue) => queue.inbox.ring(),
            None => return,
        }
    }
}

impl Listener for Queue {
    fn announce(&self) {
        self.push(Event::new(EventKind::Log, 0, Id::NONE));
    }

    fn listens(&self) -> bool {
        self.is_open()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.stamp.check().is_ok() {
            self.left.notify_one();
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("open", &self.is_open()).field("len", &self.len()).finish()
    }
}
