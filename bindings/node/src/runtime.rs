//! The threads that do the work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use micro_bridge::log::Level;
use micro_bridge::{Status, live as alive};
use napi::{Either, Env};
use napi_derive::napi;

use crate::failure::{Detail, Failure, again, done, error, told};
use crate::number::{id, nanoseconds, of_token, period, whole};
use crate::payload::bytes;

/// How long a service that was not stopped may take to leave its registry when its program or thread ends.
const LEAVING: Duration = Duration::from_millis(250);

/// Threads of the core, and everything under way on them.
#[napi]
pub struct Runtime {
    pub(crate) inner: micro_bridge::Runtime,
    pub(crate) kept: Arc<Kept>,
}

/// What the end of a JavaScript thread does for it.
#[derive(Default)]
pub(crate) struct Kept {
    runtime: Mutex<Option<micro_bridge::Runtime>>,
    /// It has served, so that a registry may know of it.
    pub(crate) serves: AtomicBool,
}

impl Kept {
    fn take(&self) -> Option<micro_bridge::Runtime> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The thread of JavaScript ends: nothing of it may go on, and none of its memory be touched.
    fn end(&self) {
        let Some(runtime) = self.take() else { return };
        let grace = if self.serves.load(Ordering::Relaxed) { LEAVING } else { Duration::ZERO };
        let _ = runtime.shutdown(grace);
        runtime.free();
    }
}

/// Starts the threads of a runtime. `options` is a JSON document.
#[napi]
pub(crate) fn new_runtime(env: &Env, options: String) -> napi::Result<Either<Runtime, Failure>> {
    let made = told(|| micro_bridge::Runtime::new(&options));
    let inner = match made {
        Either::A(inner) => inner,
        Either::B(failure) => return Ok(Either::B(failure)),
    };
    let kept =
        Arc::new(Kept { runtime: Mutex::new(Some(inner.clone())), serves: AtomicBool::new(false) });
    env.add_env_cleanup_hook(kept.clone(), |kept| kept.end())?;
    Ok(Either::A(Runtime { inner, kept }))
}

#[napi]
impl Runtime {
    /// Begins the end, and waits for nothing. `grace` is in milliseconds.
    #[napi]
    pub fn shutdown(&self, grace: f64) -> Option<Failure> {
        done(|| self.inner.shutdown(period(grace)))
    }

    /// Ends everything and waits for the threads.
    #[napi]
    pub fn free(&self) {
        drop(self.kept.take());
        self.inner.clone().free();
    }

    /// Ends a call, a stream or a watch; false when it is over.
    #[napi]
    pub fn cancel(&self, number: f64) -> Either<bool, Failure> {
        quiet(|| self.inner.cancel(id(number)))
    }

    /// Sends the first `length` bytes of `message`; false when there is no room and an event will tell of it.
    #[napi]
    pub fn send(
        &self,
        number: f64,
        message: &[u8],
        length: u32,
        last: bool,
    ) -> Either<bool, Failure> {
        told(|| match self.inner.send(id(number), bytes(message, length), last) {
            Err(failure) if failure.status() == Status::FULL => Ok(false),
            sent => sent.map(|()| true),
        })
    }

    /// This side of a stream sends no more.
    #[napi]
    pub fn close(&self, number: f64) -> Either<bool, Failure> {
        quiet(|| self.inner.close(id(number)))
    }

    /// Makes room for messages of a stream.
    #[napi]
    pub fn grant(&self, number: f64, messages: u32) -> Either<bool, Failure> {
        quiet(|| self.inner.grant(id(number), messages))
    }

    /// Says how many bytes of messages may wait on this side.
    #[napi]
    pub fn bound(&self, number: f64, size: f64) -> Either<bool, Failure> {
        let size = usize::try_from(whole(size)).unwrap_or(usize::MAX);
        quiet(|| self.inner.bound(id(number), size))
    }

    /// Answers a call that came in with the first `length` bytes of `message`. False when the caller no longer waits.
    #[napi]
    pub fn reply(
        &self,
        number: f64,
        message: &[u8],
        length: u32,
        trailers: &[u8],
    ) -> Either<bool, Failure> {
        quiet(|| self.inner.reply(id(number), Ok(bytes(message, length)), trailers))
    }

    /// Says what became of a message. False when it was said already, or is of no use any more.
    #[napi]
    pub fn settle(
        &self,
        number: f64,
        verdict: u32,
        delay: f64,
        reason: String,
    ) -> Either<bool, Failure> {
        let delay = nanoseconds(delay.max(0.0));
        quiet(|| self.inner.settle(id(number), verdict, delay, &reason))
    }

    /// Answers a call that came in with an error. False when the caller no longer waits.
    #[napi]
    #[allow(clippy::too_many_arguments, reason = "an object costs more than its parts")]
    pub fn fail(
        &self,
        number: f64,
        code: i32,
        http: i32,
        said: String,
        detail: String,
        details: Vec<Detail>,
        retry: f64,
        trailers: &[u8],
    ) -> Either<bool, Failure> {
        let error = again(error(code, http, said, detail), retry);
        let attach =
            |error: micro_bridge::core::Error, detail: Detail| error.with_attached(detail.into());
        let error = details.into_iter().fold(error, attach);
        quiet(|| self.inner.reply(id(number), Err(error), trailers))
    }

    /// Sets headers of the answer to a call that came in.
    #[napi]
    pub fn set_headers(&self, number: f64, headers: &[u8]) -> Option<Failure> {
        done(|| self.inner.set_headers(id(number), headers))
    }

    /// Sends the headers of a stream's answer now, before its first message.
    #[napi]
    pub fn send_headers(&self, number: f64) -> Option<Failure> {
        done(|| self.inner.send_headers(id(number)))
    }

    /// Refuses metadata that cannot be sent.
    #[napi]
    pub fn check_metadata(&self, block: &[u8]) -> Option<Failure> {
        done(|| micro_bridge::unpack(block).map(drop))
    }

    /// What is known of a call that came in, as JSON.
    #[napi]
    pub fn describe(&self, number: f64) -> Either<String, Failure> {
        told(|| self.inner.describe(id(number)))
    }

    /// True while the caller of a call that came in waits.
    #[napi]
    pub fn is_wanted(&self, number: f64) -> bool {
        self.inner.is_wanted(id(number))
    }
}

/// Whether it was still there: what is over is no mistake.
fn quiet(work: impl FnOnce() -> micro_bridge::Result<()>) -> Either<bool, Failure> {
    told(|| match work() {
        Err(failure) if matches!(failure.status(), Status::STALE | Status::CLOSED) => Ok(false),
        done => done.map(|()| true),
    })
}

/// Records what is at least as grave as `level`, in the whole process.
#[napi]
pub(crate) fn set_log_level(level: String) {
    micro_bridge::log::set_level(match level.as_str() {
        "off" => Level::Off,
        "error" => Level::Error,
        "info" => Level::Info,
        "debug" => Level::Debug,
        "trace" => Level::Trace,
        _ => Level::Warn,
    });
}

/// The number of a content type that the program has, or adds.
#[napi]
pub(crate) fn declare_codec(name: String) -> Either<u32, Failure> {
    told(|| micro_bridge::flags::declare(&name).map(u32::from))
}

/// How many things of a kind are alive, for tests.
#[napi]
pub(crate) fn live(kind: u32) -> f64 {
    of_token(alive::count(kind))
}
