//! What happened, told to whom it concerns: many events in one call from Python.

mod calls;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use micro_bridge::{Event, EventKind, Id, guard};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use crate::context::Context;
use crate::eager::Steps;
use crate::ending::Inside;
use crate::failure::{self, OrRaise as _, exception};
use crate::held::Held;
use crate::payload::message;
use crate::runtime::Runtime;
use crate::sink::{Sink, Sinks};

/// Most events of one turn of the event loop.
const TURN: usize = 256;
/// Most tasks that are kept for handlers to come.
const SPARES: usize = 64;

/// The parts of [`Steps`], in their order.
type Serving = (Py<PyAny>, Py<PyAny>, Py<PyAny>, Py<PyAny>, Py<PyAny>, Py<PyAny>, Py<PyAny>);

/// Events for one event loop or one thread.
#[pyclass(frozen, weakref, module = "micro._micro")]
pub(crate) struct Queue {
    queue: Held<Arc<micro_bridge::Queue>>,
    steps: PyOnceLock<Steps>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sinks: Sinks,
    /// Calls whose handler has not ended.
    calls: HashMap<Id, Py<Context>>,
    /// Tasks for the next first steps.
    spares: Vec<Py<PyAny>>,
    /// Taken from the queue, not told yet, and since when.
    taken: Option<(VecDeque<Event>, Instant)>,
    logs: Option<Py<PyAny>>,
}

#[pymethods]
impl Queue {
    #[new]
    fn new(py: Python<'_>, runtime: &Runtime) -> PyResult<Self> {
        let queue = Held::new(runtime.0.new_queue().or_raise(py)?);
        Ok(Self { queue, steps: PyOnceLock::new(), state: Mutex::default() })
    }

    /// The descriptor that is readable while something waits.
    #[cfg(unix)]
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        self.queue.descriptor().or_raise(py)
    }

    /// Serves handlers on an event loop from now on.
    fn serve_on(&self, py: Python<'_>, serving: Serving) {
        let (event_loop, spare, current, enter, leave, step, closed) = serving;
        let steps = Steps { event_loop, spare, current, enter, leave, step, closed };
        let _ = self.steps.set(py, steps);
    }

    /// Gives log records to `logs`, a function of a JSON text, from now on.
    fn receive_logs(&self, py: Python<'_>, logs: Py<PyAny>) -> PyResult<()> {
        let _before = self.state().logs.replace(logs);
        self.queue.receive_logs().or_raise(py)
    }

    /// Tells what has happened, without waiting. What a handler raises to end the program comes out of here.
    fn drain(&self, py: Python<'_>) -> PyResult<usize> {
        let Some(_inside) = Inside::enter() else { return Ok(0) };
        let left = self.state().taken.take();
        if let Some((left, taken)) = left {
            return self.tell_all(py, left, taken);
        }
        let mut batch = VecDeque::new();
        self.queue.drain(TURN, |event| batch.push_back(event));
        self.tell_all(py, batch, Instant::now())
    }

    /// As `drain`, once there is something or `seconds` are over. Other threads run meanwhile.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<usize> {
        let Some(_inside) = Inside::enter() else { return Ok(0) };
        let left = self.state().taken.take();
        if let Some((left, taken)) = left {
            return self.tell_all(py, left, taken);
        }
        let mut batch = VecDeque::new();
        let timeout = Duration::try_from_secs_f64(seconds).ok();
        py.detach(|| self.queue.wait(TURN, timeout, |event| batch.push_back(event)));
        let taken = Instant::now();
        if let Err(signalled) = py.check_signals() {
            // What was taken is told by the next that asks.
            self.state().taken = (!batch.is_empty()).then_some((batch, taken));
            return Err(signalled);
        }
        self.tell_all(py, batch, taken)
    }

    /// Answers a call whose handler has ended elsewhere, with a message or with what it raised.
    fn answer(
        &self,
        py: Python<'_>,
        context: &Bound<'_, Context>,
        endpoint: &str,
        message: Option<&Bound<'_, PyAny>>,
        error: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let Some(_inside) = Inside::enter() else { return Ok(()) };
        match (message, error) {
            (_, Some(error)) => {
                self.fail(py, context.as_unbound(), endpoint, PyErr::from_value(error))
            }
            (Some(message), None) => self.finish(py, context.get(), message),
            (None, None) => Err(PyRuntimeError::new_err("an answer is a message or an error")),
        }
    }

    /// Keeps a spare that has nothing to do; false when there are enough.
    fn keep(&self, spare: Py<PyAny>) -> bool {
        let mut state = self.state();
        let wanted = state.spares.len() < SPARES && self.queue.is_open();
        if wanted {
            state.spares.push(spare);
        }
        wanted
    }

    /// Closes it and lets go of all that wait; they are told unless their event loop is closed.
    #[pyo3(signature = (tell = true))]
    fn close(&self, py: Python<'_>, tell: bool) -> PyResult<()> {
        let waiting = {
            let mut state = self.state();
            let gone = (
                std::mem::take(&mut state.spares),
                state.logs.take(),
                std::mem::take(&mut state.calls),
            );
            let waiting = state.sinks.take_all();
            drop(state);
            drop(gone);
            waiting
        };
        let _ = self.queue.close();
        for sink in waiting.into_iter().filter(|_| tell) {
            let failure = micro_bridge::Failure::closed("queue");
            self.tell_end(py, sink, Some(exception(py, &failure, &[])), &[])?;
        }
        Ok(())
    }

    /// False after `close`, and once the runtime is over.
    #[getter]
    fn is_open(&self) -> bool {
        self.queue.is_open()
    }

    /// Operations, services and calls that are under way.
    fn __len__(&self) -> usize {
        let state = self.state();
        state.sinks.len() + state.calls.len()
    }
}

impl Queue {
    pub(crate) fn bridge(&self) -> &Arc<micro_bridge::Queue> {
        &self.queue
    }

    /// Begins something that `sink` is told of. The sink is there before, because its end may come before this returns.
    pub(crate) fn begin_with(
        &self,
        py: Python<'_>,
        sink: Sink,
        begin: impl FnOnce(u64) -> micro_bridge::Result<Id>,
    ) -> PyResult<u64> {
        let token = self.state().sinks.add(sink);
        let begun = begin(token).or_raise(py);
        if begun.is_err() {
            drop(self.take(token));
        }
        begun.map(Id::to_raw)
    }

    fn take(&self, token: u64) -> Option<Sink> {
        self.state().sinks.take(token)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_all(
        &self,
        py: Python<'_>,
        mut batch: VecDeque<Event>,
        taken: Instant,
    ) -> PyResult<usize> {
        let count = batch.len();
        while let Some(event) = batch.pop_front() {
            // The other events of the batch are told whatever becomes of this one.
            let told = guard(|| Ok(self.tell(py, event, taken))).or_raise(py);
            match told.and_then(|told| told) {
                Ok(()) => {}
                Err(error) if failure::is_exit(py, &error) => {
                    self.state().taken = (!batch.is_empty()).then_some((batch, taken));
                    return Err(error);
                }
                Err(error) => failure::unraisable(py, error),
            }
        }
        Ok(count)
    }

    fn tell(&self, py: Python<'_>, event: Event, taken: Instant) -> PyResult<()> {
        match event.kind {
            EventKind::Reply => self.reply(py, event),
            EventKind::Call => self.begin(py, event, taken),
            EventKind::CallCancelled => self.with_call(py, event.id, true, |call| call.cancel(py)),
            EventKind::Log => self.log(py, &event),
            EventKind::Closed => match self.steps.get(py) {
                Some(steps) => steps.closed.call0(py).map(drop),
                None => Ok(()),
            },
            _ if event.id.is_call() => {
                let stream = self.call(py, event.id, false).and_then(|call| call.get().stream(py));
                stream.map_or(Ok(()), |stream| tell_stream(py, &stream, event))
            }
            _ => self.progress(py, event),
        }
    }

    /// The one answer of an operation.
    fn reply(&self, py: Python<'_>, event: Event) -> PyResult<()> {
        let Some(sink) = self.take(event.token) else { return Ok(()) };
        let Event { failure, payload, meta, flags, .. } = event;
        if let Some(failure) = failure {
            let error = exception(py, &failure, &meta);
            return self.tell_end(py, sink, Some(error), &[]);
        }
        let Sink::Future(future) = sink else { return Ok(()) };
        let future = future.bind(py);
        if future.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(());
        }
        let answer = (message(py, payload)?, flags, block(py, &meta));
        future.call_method1(intern!(py, "set_result"), (answer,)).map(drop)
    }

    /// What happens to a stream, a watch or a service.
    fn progress(&self, py: Python<'_>, event: Event) -> PyResult<()> {
        if event.kind == EventKind::End {
            let Some(sink) = self.take(event.token) else { return Ok(()) };
            let error = event.failure.map(|failure| exception(py, &failure, &event.meta));
            return self.tell_end(py, sink, error, &event.meta);
        }
        let sink = self.state().sinks.get(py, event.token);
        match sink {
            Some(Sink::Stream(stream)) => tell_stream(py, &stream, event),
            Some(Sink::Host(host)) => {
                let record = PyBytes::new(py, &event.payload);
                host.object.call_method1(py, intern!(py, "_opened"), (record,)).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn tell_end(
        &self,
        py: Python<'_>,
        sink: Sink,
        error: Option<PyErr>,
        meta: &[u8],
    ) -> PyResult<()> {
        let error = error.map(|error| error.into_value(py));
        match sink {
            Sink::Future(future) => {
                let future = future.bind(py);
                if future.call_method0(intern!(py, "done"))?.is_truthy()? {
                    return Ok(());
                }
                future.call_method1(intern!(py, "set_exception"), (error,)).map(drop)
            }
            Sink::Stream(stream) => {
                let meta = PyBytes::new(py, meta);
                stream.call_method1(py, intern!(py, "_end"), (error, meta)).map(drop)
            }
            Sink::Host(host) => {
                host.object.call_method1(py, intern!(py, "_ended"), (error,)).map(drop)
            }
        }
    }

    fn log(&self, py: Python<'_>, event: &Event) -> PyResult<()> {
        let logs = self.state().logs.as_ref().map(|logs| logs.clone_ref(py));
        logs.map_or(Ok(()), |logs| logs.call1(py, (PyBytes::new(py, &event.payload),)).map(drop))
    }
}

/// A block of metadata, or nothing where there is none.
fn block<'py>(py: Python<'py>, meta: &[u8]) -> Option<Bound<'py, PyBytes>> {
    (!meta.is_empty()).then(|| PyBytes::new(py, meta))
}

fn tell_stream(py: Python<'_>, stream: &Py<PyAny>, event: Event) -> PyResult<()> {
    let stream = stream.bind(py);
    match event.kind {
        EventKind::Message | EventKind::Change => {
            let told = (message(py, event.payload)?, event.flags);
            stream.call_method1(intern!(py, "_message"), told)
        }
        EventKind::Delivery => {
            let meta = PyBytes::new(py, &event.meta);
            let told = (message(py, event.payload)?, event.flags, event.id.to_raw(), meta);
            stream.call_method1(intern!(py, "_delivery"), told)
        }
        EventKind::Opened => stream.call_method1(intern!(py, "_opened"), (block(py, &event.meta),)),
        EventKind::Writable => stream.call_method0(intern!(py, "_writable")),
        EventKind::End => {
            let error = event.failure.map(|failure| exception(py, &failure, &event.meta));
            let error = error.map(|error| error.into_value(py));
            stream.call_method1(intern!(py, "_end"), (error, PyBytes::new(py, &event.meta)))
        }
        _ => return Ok(()),
    }
    .map(drop)
}
