//! The threads that do the work.

use std::sync::Arc;
use std::time::Duration;

use micro_bridge::log::Level;
use micro_bridge::{Id, Status, live as alive};
use pyo3::prelude::*;

use crate::failure::{OrRaise as _, exception};
use crate::held::Held;

/// Threads of the core, and everything under way on them.
#[pyclass(frozen, module = "micro._micro")]
pub(crate) struct Runtime(pub(crate) Arc<Held<micro_bridge::Runtime>>);

#[pymethods]
impl Runtime {
    #[new]
    fn new(py: Python<'_>, options: &str) -> PyResult<Self> {
        let runtime = micro_bridge::Runtime::new(options).or_raise(py)?;
        Ok(Self(Arc::new(Held::new(runtime))))
    }

    /// Begins the end, and waits for nothing.
    fn shutdown(&self, py: Python<'_>, grace: f64) -> PyResult<()> {
        let grace = Duration::try_from_secs_f64(grace.max(0.0)).unwrap_or(Duration::MAX);
        self.0.shutdown(grace).or_raise(py)
    }

    /// Ends everything and waits for the threads.
    fn free(&self, py: Python<'_>) {
        let runtime = (**self.0).clone();
        py.detach(|| runtime.free());
    }

    fn cancel(&self, py: Python<'_>, id: u64) -> PyResult<bool> {
        quiet(py, self.0.cancel(Id::from_raw(id)))
    }

    /// Sends a message; false when there is no room and `_writable` will tell of it.
    #[pyo3(signature = (id, message, last = false))]
    fn send(
        &self,
        py: Python<'_>,
        id: u64,
        message: &Bound<'_, PyAny>,
        last: bool,
    ) -> PyResult<bool> {
        match self.0.send(Id::from_raw(id), crate::payload::bytes_of(message)?, last) {
            Err(failure) if failure.status() == Status::FULL => Ok(false),
            sent => sent.or_raise(py).map(|()| true),
        }
    }

    fn close(&self, py: Python<'_>, id: u64) -> PyResult<bool> {
        quiet(py, self.0.close(Id::from_raw(id)))
    }

    fn grant(&self, py: Python<'_>, id: u64, messages: u32) -> PyResult<bool> {
        quiet(py, self.0.grant(Id::from_raw(id), messages))
    }

    /// Says what became of a message, see `micro._messages`; false when that was said, or its subscription has ended.
    fn settle(
        &self,
        py: Python<'_>,
        id: u64,
        verdict: u32,
        delay_ns: u64,
        reason: &str,
    ) -> PyResult<bool> {
        quiet(py, self.0.settle(Id::from_raw(id), verdict, delay_ns, reason))
    }

    fn bound(&self, py: Python<'_>, id: u64, bytes: usize) -> PyResult<bool> {
        quiet(py, self.0.bound(Id::from_raw(id), bytes))
    }
}

/// Whether it was still there: what is over is no mistake.
fn quiet(py: Python<'_>, done: micro_bridge::Result<()>) -> PyResult<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(failure) if matches!(failure.status(), Status::STALE | Status::CLOSED) => Ok(false),
        Err(failure) => Err(exception(py, &failure, &[])),
    }
}

/// The number of a content type that the program has, or adds.
#[pyfunction]
pub(crate) fn codec(py: Python<'_>, name: &str) -> PyResult<u16> {
    micro_bridge::flags::declare(name).map_err(|failure| exception(py, &failure, &[]))
}

/// Records what is at least as grave as `level`, in the whole process.
#[pyfunction]
pub(crate) fn set_log_level(level: &str) {
    micro_bridge::log::set_level(match level {
        "off" => Level::Off,
        "error" => Level::Error,
        "info" => Level::Info,
        "debug" => Level::Debug,
        "trace" => Level::Trace,
        _ => Level::Warn,
    });
}

/// How many things of a kind are alive, for tests.
#[pyfunction]
pub(crate) fn live(kind: u32) -> u64 {
    alive::count(kind)
}
