//! What happened, told to JavaScript: many events in one call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use micro_bridge::Callback;
use napi::bindgen_prelude::{Float64ArraySlice, Function, Uint8ArraySlice, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Either, Env, Status, sys};
use napi_derive::napi;

use crate::failure::{Failure, done, told};
use crate::runtime::Runtime;
use crate::sheet::{Extra, Sheet};

/// Rings an event loop. It carries nothing, holds one ring at most, and keeps no program alive unless told so.
type Bell = ThreadsafeFunction<(), Unknown<'static>, (), Status, false, true, 1>;

/// Events for one event loop.
#[napi]
pub struct Queue {
    pub(crate) queue: Arc<micro_bridge::Queue>,
    /// Until the queue is closed.
    bell: Mutex<Option<Arc<Bell>>>,
}

/// Makes a queue; `ring` is called on the event loop when something waits.
#[napi]
pub(crate) fn new_queue(
    runtime: &Runtime,
    ring: Function<'_, (), Unknown<'static>>,
) -> napi::Result<Either<Queue, Failure>> {
    let bell = ring.build_threadsafe_function::<()>().weak::<true>().max_queue_size::<1>();
    let bell: Arc<Bell> = Arc::new(bell.callee_handled::<false>().build()?);
    Ok(told(|| {
        let queue = runtime.inner.new_queue()?;
        let ringer = bell.clone();
        queue.set_wake(Callback(move || {
            // A ring that finds another waiting is that one.
            let _ = ringer.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }))?;
        Ok(Queue { queue, bell: Mutex::new(Some(bell)) })
    }))
}

#[napi]
impl Queue {
    /// Writes down what has happened, without waiting: see `sheet.rs`.
    #[napi]
    pub fn drain<'env>(
        &self,
        env: &'env Env,
        mut numbers: Float64ArraySlice<'_>,
        mut arena: Uint8ArraySlice<'_>,
    ) -> napi::Result<Vec<Extra<'env>>> {
        // SAFETY: nothing of JavaScript runs before this returns, and the two are memory of their own.
        let mut sheet = unsafe { Sheet::new(env, numbers.as_mut(), arena.as_mut()) };
        let room = sheet.room();
        self.queue.drain(room, |event| sheet.add(event));
        sheet.finish()
    }

    /// Whether the queue keeps the program alive.
    #[napi]
    pub fn hold(&self, env: &Env, hold: bool) {
        let bell = self.bell();
        let Some(bell) = bell.as_ref().filter(|bell| !bell.aborted()) else { return };
        // SAFETY: this is the thread of the environment, which has not let go of the function, as was just asked.
        unsafe {
            if hold {
                sys::napi_ref_threadsafe_function(env.raw(), bell.raw());
            } else {
                sys::napi_unref_threadsafe_function(env.raw(), bell.raw());
            }
        }
    }

    /// Receives log records, instead of whichever queue did.
    #[napi]
    pub fn receive_logs(&self) -> Option<Failure> {
        done(|| self.queue.receive_logs())
    }

    /// Closes it: what waits is dropped, and nothing more comes in.
    #[napi]
    pub fn close(&self) -> Option<Failure> {
        let closed = done(|| self.queue.close());
        drop(self.bell().take());
        closed
    }

    fn bell(&self) -> MutexGuard<'_, Option<Arc<Bell>>> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
