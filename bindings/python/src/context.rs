//! A call that came in, as its handler sees it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use micro_bridge::core::Error;
use micro_bridge::{Event, Id, NO_TIMEOUT};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use crate::failure::{OrRaise as _, exception};
use crate::held::Held;

/// A call that came in: who calls, how long they wait, what they sent along, and what is sent along with the answer.
#[pyclass(frozen, module = "micro")]
pub(crate) struct Context {
    runtime: Arc<Held<micro_bridge::Runtime>>,
    id: Id,
    flags: u16,
    until: Option<Instant>,
    meta: Held<Bytes>,
    cancelled: AtomicBool,
    said: Mutex<Said>,
}

/// What becomes known, or is told, while the call runs.
#[derive(Default)]
struct Said {
    /// The stream of messages, of an endpoint that has one.
    stream: Option<Py<PyAny>>,
    /// The task that runs the handler, once it has had to wait.
    task: Option<Py<PyAny>>,
    description: Option<Py<PyDict>>,
    trailers: Vec<Vec<u8>>,
}

/// For so long after it was fetched, a call is taken to be waited for still.
const FRESH: Duration = Duration::from_millis(1);

impl Context {
    /// The call of an event that was fetched at `taken`.
    pub(crate) fn new(
        runtime: &Arc<Held<micro_bridge::Runtime>>,
        event: &mut Event,
        taken: Instant,
    ) -> Self {
        let left = (event.timeout_ns != NO_TIMEOUT).then(|| Duration::from_nanos(event.timeout_ns));
        Self {
            runtime: runtime.clone(),
            id: event.id,
            flags: event.flags,
            until: left.and_then(|left| taken.checked_add(left)),
            meta: Held::new(std::mem::take(&mut event.meta)),
            cancelled: AtomicBool::new(false),
            said: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> Id {
        self.id
    }

    /// True when it is not worth beginning any more. Handlers of other calls may have run since it was fetched.
    pub(crate) fn is_late(&self, taken: Instant) -> bool {
        let now = Instant::now();
        self.until.is_some_and(|until| until <= now)
            || (now.saturating_duration_since(taken) > FRESH && !self.is_wanted())
    }

    /// True while the core waits for the answer, whatever this process has been told yet.
    fn is_wanted(&self) -> bool {
        self.runtime.is_wanted(self.id)
    }

    /// Answers the call; that the caller no longer waits for it is no mistake.
    pub(crate) fn answer(&self, py: Python<'_>, answer: Result<Bytes, Error>) -> PyResult<()> {
        let trailers = std::mem::take(&mut self.said().trailers);
        let trailers = if trailers.is_empty() { Vec::new() } else { joined(&trailers) };
        match self.runtime.reply(self.id, answer, &trailers) {
            Err(failure) if failure.status() != micro_bridge::Status::STALE => {
                Err(exception(py, &failure, &[]))
            }
            _ => Ok(()),
        }
    }

    /// The caller no longer waits: the handler is told.
    pub(crate) fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        self.cancelled.store(true, Ordering::Relaxed);
        let (task, stream) = {
            let said = self.said();
            let copy =
                |object: &Option<Py<PyAny>>| object.as_ref().map(|object| object.clone_ref(py));
            (copy(&said.task), copy(&said.stream))
        };
        if let Some(stream) = stream {
            stream.call_method0(py, "_over")?;
        }
        task.map_or(Ok(()), |task| task.call_method0(py, "cancel").map(drop))
    }

    /// The handler is over; what refers to it is let go.
    pub(crate) fn end(&self) {
        let mut said = self.said();
        let gone = (said.stream.take(), said.task.take());
        drop(said);
        drop(gone);
    }

    pub(crate) fn stream(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.said().stream.as_ref().map(|stream| stream.clone_ref(py))
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn description<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        if let Some(known) = &self.said().description {
            return Ok(known.bind(py).clone());
        }
        static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let text = self.runtime.describe(self.id).or_raise(py)?;
        let found = LOADS.import(py, "json", "loads")?.call1((text,))?.cast_into::<PyDict>()?;
        self.said().description = Some(found.clone().unbind());
        Ok(found)
    }

    fn told<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.description(py)?.get_item(name)?.filter(|value| !value.is_none()))
    }
}

/// Blocks of one entry each as one block.
fn joined(entries: &[Vec<u8>]) -> Vec<u8> {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let mut out = count.to_ne_bytes().to_vec();
    entries.iter().for_each(|entry| out.extend_from_slice(&entry[4..]));
    out
}

#[pymethods]
impl Context {
    /// Number of the call, for the native part.
    #[getter(_id)]
    fn raw(&self) -> u64 {
        self.id.to_raw()
    }

    /// Codec of the request, for the native part.
    #[getter(_flags)]
    fn raw_flags(&self) -> u16 {
        self.flags
    }

    /// Seconds until the caller stops waiting, infinite when it waits for ever; zero when it does not wait any more, whether
    /// or not this side was told.
    #[getter(_left)]
    fn left(&self) -> f64 {
        if self.cancelled() || !self.is_wanted() {
            return 0.0;
        }
        self.remaining().unwrap_or(f64::INFINITY)
    }

    /// Metadata the caller sent: a `micro.Metadata`.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let make = MAKE.import(py, "micro._metadata", "of_block")?;
        make.call1((PyBytes::new(py, &self.meta),))
    }

    /// The message of a topic that is handled, as a `micro.Delivery`, which can be settled before the handler returns; `None`
    /// where this is a call or a run of a job.
    #[getter]
    fn delivery<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let (py, this) = (slf.py(), slf.get());
        if micro_bridge::Headers::after(&this.meta).is_empty() {
            return Ok(None);
        }
        let make = MAKE.import(py, "micro._messages", "of_context")?;
        make.call1((slf, PyBytes::new(py, &this.meta))).map(Some)
    }

    /// The run of a job that is carried out, as a `micro.Running`; `None` where this is a call or a message.
    #[getter]
    fn job<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if micro_bridge::Headers::after(&self.meta).is_empty() {
            return Ok(None);
        }
        let make = MAKE.import(py, "micro._jobs", "of_context")?;
        make.call1((PyBytes::new(py, &self.meta),)).map(Some)
    }

    /// Says what became of the message that is handled.
    fn _settle(&self, py: Python<'_>, verdict: u32, delay_ns: u64, reason: &str) -> PyResult<bool> {
        match self.runtime.settle(self.id, verdict, delay_ns, reason) {
            Ok(()) => Ok(true),
            Err(failure) if failure.status() == micro_bridge::Status::STALE => Ok(false),
            Err(failure) => Err(exception(py, &failure, &[])),
        }
    }

    /// Seconds until the caller stops waiting, never below zero; `None` when it waits for ever.
    #[getter]
    fn remaining(&self) -> Option<f64> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    /// True once the caller no longer waits for the answer.
    #[getter]
    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Name of the service that was called.
    #[getter]
    fn service<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.told(py, "service")
    }

    /// Endpoint that was called, for example `Greeter.Hello`.
    #[getter]
    fn endpoint<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.told(py, "endpoint")
    }

    /// Path that was called, such as `/shop.v1.Cart/Add`, of a call that the endpoint `*` answers; else `None`.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.told(py, "path")
    }

    /// Service that calls; `None` when the caller is no service.
    #[getter]
    fn caller<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.told(py, "caller")
    }

    /// Address of the caller, `host:port`; `None` in memory.
    #[getter]
    fn peer<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.told(py, "peer")
    }

    /// Name of the whole tree of calls.
    #[getter]
    fn trace_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.told(py, "trace_id")
    }

    /// Name of this call within its tree.
    #[getter]
    fn span_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.told(py, "span_id")
    }

    /// Adds a header to the answer; without effect once they are sent, with a stream's first message or by `send_headers`.
    fn set_header(&self, py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let block = crate::headers::one(name, value)?;
        self.runtime.set_headers(self.id, &block).or_raise(py)
    }

    /// Sends the headers of a stream's answer now, before its first message; headers that are set afterwards may be
    /// lost. Raises `WrongArgument` where the answer is one
    /// message, which its headers come with.
    fn send_headers(&self, py: Python<'_>) -> PyResult<()> {
        self.runtime.send_headers(self.id).or_raise(py)
    }

    /// Adds a trailer to the answer, also to one that fails.
    fn set_trailer(&self, py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let block = crate::headers::one(name, value)?;
        micro_bridge::unpack(&block).or_raise(py)?;
        self.said().trailers.push(block);
        Ok(())
    }

    #[setter(_stream)]
    fn set_stream(&self, stream: Py<PyAny>) {
        let _before = self.said().stream.replace(stream);
    }

    #[setter(_task)]
    fn set_task(&self, task: Py<PyAny>) {
        let _before = self.said().task.replace(task);
    }

    fn __repr__(&self) -> String {
        format!("<micro.Context of call {:#x}>", self.id.to_raw())
    }
}
