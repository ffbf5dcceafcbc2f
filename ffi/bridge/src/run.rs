//! Threads of the library that tell a queue's events to a function of the host.

use std::sync::{Arc, PoisonError};
use std::thread::Builder;

use micro::Error;

use crate::event::{Event, EventKind};
use crate::failure::{Failure, Result};
use crate::queue::Queue;
use crate::threads::Threads;

/// Most threads of one queue.
const MOST: u32 = 64;
/// Events that a thread alone takes at a time. One of many takes one: what it held while its function blocks, no other could
/// be told.
const BATCH: usize = 64;

impl Queue {
    /// Tells events to `tell` on `threads` (1 to 64) threads; with one thread, in order and never two at a time. It may block.
    /// It is dropped after the last event, and the queue is drained in no other way meanwhile. [`Queue::free`] waits for the threads.
    ///
    /// # Errors
    /// [`Status::ARG`](crate::Status::ARG) for no threads or too many, and for a queue that runs already; `RESOURCE_EXHAUSTED`
    /// when the system gives none; [`Status::FORKED`](crate::Status::FORKED).
    pub fn run(
        self: &Arc<Self>,
        threads: u32,
        tell: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<()> {
        if !(1..=MOST).contains(&threads) {
            return Err(Failure::argument("run a queue on 1 to 64 threads"));
        }
        // Before its lock, which a thread that is not there may hold.
        self.check()?;
        let mut running = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return Err(Failure::argument("the queue runs already: make another queue"));
        }
        let tell = Arc::new(tell);
        let most = if threads == 1 { BATCH } else { 1 };
        let mut started = Threads::default();
        for number in 0..threads {
            let (queue, tell) = (self.clone(), tell.clone());
            let thread = Builder::new()
                .name(format!("micro-event-{number}"))
                .spawn(move || dispatch(&queue, &*tell, most));
            match thread {
                Ok(thread) => started.0.push(thread),
                // Fewer threads will do; none will not.
                Err(_) if !started.0.is_empty() => break,
                Err(error) => {
                    let why = format!("cannot start a thread: {error}");
                    return Err(Error::resource_exhausted(why).into());
                }
            }
        }
        *running = Some(started);
        Ok(())
    }
}

fn dispatch(queue: &Queue, tell: &dyn Fn(Event), most: usize) {
    let mut batch = Vec::with_capacity(most);
    loop {
        let taken = queue.wait(most, None, |event| batch.push(event));
        if taken == 0 && !queue.is_open() {
            return;
        }
        for event in batch.drain(..) {
            let closed = event.kind == EventKind::Closed;
            tell(event);
            if closed {
                return;
            }
        }
    }
}
