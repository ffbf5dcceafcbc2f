//! Threads, and everything under way on them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use micro::server::Path;
use micro::{Error, Metadata};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Builder;

use crate::completion::Ending;
use crate::delivery::Said;
use crate::engines;
use crate::event::EventKind;
use crate::failure::{Failure, Result};
use crate::flow::Flow;
use crate::fork;
use crate::id::{Id, IdKind};
use crate::inbound::Host;
use crate::log::{self, Level};
use crate::operation::Operation;
use crate::provided;
use crate::queue::Queue;
use crate::shared::Shared;
use crate::things::Thing;

/// Threads for work that blocks; the core has next to none.
const BLOCKING_THREADS: usize = 8;
/// How long threads may take to end when the runtime is freed.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Settings of a runtime, a JSON document.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    workers: Option<usize>,
    log: Option<Level>,
}

/// The threads that do the work, and whatever is under way. Clones are the same runtime.
///
/// [`Runtime::shutdown`] ends it in order. Dropping the last clone asks for its end at once, and waits for nothing.
#[derive(Debug, Clone)]
pub struct Runtime(Arc<Owner>);

/// Ends the runtime when its host lets go of it. What is under way holds on to the inside alone.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        if self.0.check().is_ok() {
            self.0.shut_down(Duration::ZERO);
        }
    }
}

impl Runtime {
    /// Starts threads. `options` is a JSON document, empty for the defaults: `workers`, how many threads (as many as
    /// processors, at most 8), and `log`, the least grave record delivered (`off`, `error`, `warn`, `info`, `debug`, `trace`;
    /// `warn` unless set; it holds for the whole process).
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for options that cannot be read, `RESOURCE_EXHAUSTED` when the system gives no thread.
    pub fn new(options: &str) -> Result<Self> {
        let settings: Settings = if options.trim().is_empty() {
            Settings::default()
        } else {
            // As a map first: a list would do for the struct.
            serde_json::from_str(options)
                .and_then(|document| serde_json::from_value(Value::Object(document)))
                .map_err(|error| Error::invalid_argument(format!("runtime options: {error}")))?
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = settings.workers.unwrap_or(processors.min(8));
        if !(1..=512).contains(&workers) {
            let wrong = format!("runtime options: {workers} workers: give 1 to 512");
            return Err(Error::invalid_argument(wrong).into());
        }
        fork::watch();
        provided::open_scheme();
        engines::provide();
        if let Some(level) = settings.log {
            log::set_level(level);
        }
        // What tokio shares in a process is made at its first use, and threads take theirs from it.
        let _no_fork = fork::gate();
        let tokio = Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("micro-io")
            .on_thread_start(|| {
                let _no_fork = fork::gate();
                micro::fork::warm_up_thread();
            })
            .enable_all()
            .build()
            .map_err(|error| Error::resource_exhausted(format!("cannot start threads: {error}")))?;
        Ok(Self(Arc::new(Owner(Shared::start(tokio, workers)))))
    }

    /// Ends whatever is under way, in order, without waiting for it: services stop accepting, deregister and finish their
    /// calls; operations get `grace` to end, then they are cancelled; last, every queue gets [`EventKind::Closed`]. A second
    /// call does nothing.
    ///
    /// # Errors
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn shutdown(&self, grace: Duration) -> Result<()> {
        self.inside()?.shut_down(grace);
        Ok(())
    }

    /// Shuts down, at once unless that has been asked for otherwise, waits for the end and lets the threads go. Blocks:
    /// never to be called from a callback. In a child of its process it does nothing.
    pub fn free(self) {
        let Ok(shared) = self.inside().cloned() else {
            // Its threads are not in this process, so there is nothing to end or to wait for.
            std::mem::forget(self);
            return;
        };
        shared.shut_down(Duration::ZERO);
        shared.join(LAST_WAIT);
    }

    /// Ends whatever `id` names: it gets its terminal event, and the caller of a call that came in is answered `CANCELLED`.
    /// Harmless when late.
    ///
    /// # Errors
    /// [`Status::STALE`](crate::Status::STALE) when it is over already, [`Status::FORKED`](crate::Status::FORKED).
    pub fn cancel(&self, id: Id) -> Result<()> {
        let shared = self.inside()?;
        if let Thing::Call(_) = shared.things.get(id).ok_or_else(Failure::stale)? {
            let gave_up = Error::cancelled("the service gave the call up");
            return shared.answer(id, Err(gave_up), Metadata::new());
        }
        // Aborted when its place is unlocked again: its end looks there.
        let mut task = None;
        if !shared.things.change(id, |thing| task = thing.cancel()) {
            return Err(Failure::stale());
        }
        if let Some(task) = task {
            task.abort();
        }
        Ok(())
    }

    /// Answers a call that came in, and ends it. For a stream, `Ok` with an empty message ends it well.
    /// `trailers` is a block, see [`crate::pack`].
    ///
    /// # Errors
    /// [`Status::STALE`](crate::Status::STALE) when its caller no longer waits: it was answered, cancelled or is too late.
    /// [`Status::ARG`](crate::Status::ARG) for trailers that cannot be sent; the call can still be answered then.
    pub fn reply(&self, call: Id, answer: Result<Bytes, Error>, trailers: &[u8]) -> Result<()> {
        self.inside()?.answer(call, answer, crate::unpack(trailers)?)
    }

    /// Says what became of a message: one that an [`EventKind::Delivery`] lent, or that came in as a call of a subscriber of a
    /// service. `verdict` is one of [`verdict`](crate::verdict); `delay_ns` is how long one that is delivered again waits, `reason`
    /// why, for whoever reads the dead letter. Returns at once; a broker that cannot be told delivers the message again.
    ///
    /// # Errors
    /// [`Status::STALE`](crate::Status::STALE) when it was settled, or its subscription has ended.
    /// [`Status::ARG`](crate::Status::ARG) for an unknown verdict, and for what is no message.
    pub fn settle(&self, message: Id, verdict: u32, delay_ns: u64, reason: &str) -> Result<()> {
        let shared = self.inside()?;
        let said = Said::read(verdict, delay_ns, reason)?;
        match shared.things.get(message).ok_or_else(Failure::stale)? {
            Thing::Delivery(lent) => {
                let Some(verdict) = said.verdict() else {
                    lent.extend();
                    return Ok(());
                };
                let lent = shared.things.remove(message).and(lent.take());
                shared.settle(lent.ok_or_else(Failure::stale)?, verdict);
                Ok(())
            }
            Thing::Call(call) if call.context().delivered().is_some() => match said.answer() {
                Some(answer) => shared.answer(message, answer, Metadata::new()),
                // Its handler is at work until it answers, which its broker knows.
                None => Ok(()),
            },
            _ => Err(Failure::argument("this is no message of a topic")),
        }
    }

    /// Sets headers of the answer to a call that came in; without effect once they are sent, with a stream's first message or
    /// by [`Runtime::send_headers`].
    ///
    /// # Errors
    /// As [`Runtime::reply`].
    pub fn set_headers(&self, call: Id, headers: &[u8]) -> Result<()> {
        let context = self.inside()?.context_of(call)?;
        Ok(context.extend_headers(crate::unpack(headers)?)?)
    }

    /// Sends the headers of a stream's answer now, before its first message; without effect once they are sent. Headers that
    /// are set afterwards may be lost.
    ///
    /// # Errors
    /// As [`Runtime::reply`]; [`Status::ARG`](crate::Status::ARG) where the answer is one message, which its headers come with.
    pub fn send_headers(&self, call: Id) -> Result<()> {
        self.inside()?.begin(call)
    }

    /// True while the caller of a call that came in waits for its answer.
    pub fn is_wanted(&self, call: Id) -> bool {
        self.inside().is_ok_and(|shared| shared.context_of(call).is_ok())
    }

    /// What is known of a call that came in, as JSON: `service`, `endpoint`, `caller`, `peer`, `trace_id`, `span_id`, and the
    /// `path` of one that the endpoint `*` answers.
    ///
    /// # Errors
    /// As [`Runtime::reply`].
    pub fn describe(&self, call: Id) -> Result<String> {
        let context = self.inside()?.context_of(call)?;
        let trace = context.trace();
        Ok(serde_json::json!({
            "service": context.service(),
            "endpoint": context.endpoint(),
            "path": context.extension::<Path>().as_ref().map(|path| path.as_str()),
            "caller": context.caller(),
            "peer": context.peer().map(|peer| peer.to_string()),
            "trace_id": trace.trace_id(),
            "span_id": trace.span_id(),
        })
        .to_string())
    }

    /// Sends a message on a stream, whichever side opened it; with `last`, this side sends no more.
    ///
    /// # Errors
    /// [`Status::FULL`](crate::Status::FULL): the far side is slow; the message was not taken, and
    /// [`EventKind::Writable`] tells when to send it again. [`Status::CLOSED`](crate::Status::CLOSED) after the last one,
    /// [`Status::STALE`](crate::Status::STALE) when the stream is over, [`Status::ARG`](crate::Status::ARG) for what sends
    /// no messages.
    pub fn send(&self, stream: Id, message: Bytes, last: bool) -> Result<()> {
        self.flow(stream, |flow| flow.send(message, last))
    }

    /// This side of a stream that it opened sends no more. What is followed comes to its end.
    ///
    /// # Errors
    /// As [`Runtime::send`], but never [`Status::FULL`](crate::Status::FULL).
    pub fn close(&self, stream: Id) -> Result<()> {
        self.flow(stream, |flow| flow.close())
    }

    /// The host is ready for `messages` more messages of a stream; none is delivered before.
    ///
    /// # Errors
    /// [`Status::STALE`](crate::Status::STALE), [`Status::ARG`](crate::Status::ARG) for what receives no messages.
    pub fn grant(&self, stream: Id, messages: u32) -> Result<()> {
        self.flow(stream, |flow| {
            flow.credit()?.grant(messages);
            Ok(())
        })
    }

    /// The host queues messages of a stream on its own side, and has room for `bytes` of them: more are not delivered, unless
    /// one alone is larger. From now on each message it grants says that it has read one; those of 64 KiB in all, and of
    /// half of what it granted first, it says at once.
    ///
    /// # Errors
    /// [`Status::STALE`](crate::Status::STALE), [`Status::ARG`](crate::Status::ARG) for what receives no messages.
    pub fn bound(&self, stream: Id, bytes: usize) -> Result<()> {
        self.flow(stream, |flow| {
            flow.credit()?.bound(bytes);
            Ok(())
        })
    }

    /// A queue: where a host is told what happens.
    ///
    /// # Errors
    /// [`Status::CLOSED`](crate::Status::CLOSED) when the runtime is shut down, [`Status::FORKED`](crate::Status::FORKED).
    pub fn new_queue(&self) -> Result<Arc<Queue>> {
        self.inside()?.queue()
    }

    /// Provides something of an [area](provided::area) that is the host's own: from now on the URL `host://name` opens it, in
    /// this process. A question to it is told as [`EventKind::Call`] with `token`; its method is the number of the operation, and
    /// the metadata [`ARGS`](provided::ARGS) has the arguments. It is answered with [`Runtime::reply`]. One that follows
    /// something is answered with [`Runtime::send`]: an empty message once every change will be told, then one for each change.
    /// Cancelling the returned id withdraws the name, and ends in one [`EventKind::End`].
    ///
    /// # Errors
    /// [`Status::ARG`](crate::Status::ARG) for an area that cannot be provided and for a name other than letters, digits, `-`,
    /// `_` and `.`; `ALREADY_EXISTS` for one that is taken; [`Status::CLOSED`](crate::Status::CLOSED),
    /// [`Status::FORKED`](crate::Status::FORKED).
    pub fn provide(&self, area: u32, name: &str, queue: &Arc<Queue>, token: u64) -> Result<Id> {
        let shared = self.inside()?;
        shared.open()?;
        let host = Host { shared: shared.clone(), queue: queue.clone(), token };
        let provided = provided::provide(area, name, host)?;
        let operation = Operation::new(queue, token, IdKind::Operation, EventKind::End);
        operation.begin(shared, |_| async move {
            let _provided = provided;
            std::future::pending().await
        })
    }

    fn flow<R>(&self, id: Id, run: impl FnOnce(&dyn Flow) -> Result<R>) -> Result<R> {
        let thing = self.inside()?.things.get(id).ok_or_else(Failure::stale)?;
        run(thing.flow()?)
    }

    /// The runtime's inside, unless this is a child of its process.
    pub(crate) fn inside(&self) -> Result<&Arc<Shared>> {
        self.0.0.check()?;
        Ok(&self.0.0)
    }

    /// An operation that comes back with its payload at once: what crossing the border costs, without a network.
    ///
    /// # Errors
    /// As any operation.
    #[doc(hidden)]
    pub fn echo_inside(&self, queue: &Arc<Queue>, payload: Bytes, token: u64) -> Result<Id> {
        let operation = Operation::new(queue, token, IdKind::Operation, EventKind::Reply);
        operation.begin(self.inside()?, |_| async { Ending::payload(payload) })
    }

    /// An operation that panics, to see what becomes of it.
    ///
    /// # Errors
    /// As any operation.
    #[doc(hidden)]
    #[allow(clippy::panic, reason = "that is what it is for")]
    pub fn panic_inside(&self, queue: &Arc<Queue>, token: u64) -> Result<Id> {
        let operation = Operation::new(queue, token, IdKind::Operation, EventKind::Reply);
        operation.begin(self.inside()?, |_| async { panic!("asked for by a test") })
    }
}
