//! Handlers that never wait cost no task.
//!
//! The first step of a coroutine runs here and now, in a copy of the service's context, as the current task of a *spare*: a
//! real `asyncio.Task` that has nothing else to do. Most handlers are over then. One that has to wait is adopted by the
//! spare, which goes on with it; to the handler it is the same task throughout.

use micro_bridge::guard;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyIterator;
use pyo3::types::iterator::PySendResult;

use crate::failure::OrRaise as _;

/// What a first step came to.
pub(crate) enum Step<'py> {
    Returned(Bound<'py, PyAny>),
    /// It waits for what it yielded, in this context.
    Waits(Bound<'py, PyAny>, Bound<'py, PyAny>),
}

/// What is needed to run first steps on one event loop.
pub(crate) struct Steps {
    pub(crate) event_loop: Py<PyAny>,
    /// Makes a spare for the loop.
    pub(crate) spare: Py<PyAny>,
    /// The variable that holds the context of the call.
    pub(crate) current: Py<PyAny>,
    pub(crate) enter: Py<PyAny>,
    pub(crate) leave: Py<PyAny>,
    pub(crate) step: Py<PyAny>,
    /// Called when the runtime is over.
    pub(crate) closed: Py<PyAny>,
}

impl Steps {
    /// Runs the first step of `coroutine` as the task of `spare`.
    pub(crate) fn first<'py>(
        &self,
        py: Python<'py>,
        base: &Py<PyAny>,
        spare: &Bound<'py, PyAny>,
        context: &Bound<'py, PyAny>,
        coroutine: &Bound<'py, PyAny>,
    ) -> PyResult<Step<'py>> {
        let copy = base.bind(py).call_method0(intern!(py, "copy"))?;
        let task = spare.getattr(intern!(py, "task"))?;
        self.enter.call1(py, (&self.event_loop, &task))?;
        let arguments = (&self.step, coroutine, &self.current, context);
        // A panic that a handler met in the native part goes on through here, and must not leave the loop inside of the task.
        let stepped = guard(|| Ok(copy.call_method1(intern!(py, "run"), arguments)));
        self.leave.call1(py, (&self.event_loop, &task))?;
        let (returned, value): (bool, Bound<'py, PyAny>) = stepped.or_raise(py)??.extract()?;
        Ok(if returned { Step::Returned(value) } else { Step::Waits(value, copy) })
    }
}

/// One step of a coroutine, as the call `context`.
#[pyfunction]
pub(crate) fn step<'py>(
    coroutine: &Bound<'py, PyAny>,
    current: &Bound<'py, PyAny>,
    context: &Bound<'py, PyAny>,
) -> PyResult<(bool, Bound<'py, PyAny>)> {
    let py = coroutine.py();
    current.call_method1(intern!(py, "set"), (context,))?;
    // SAFETY: the type is used for its `send` alone, which is `PyIter_Send`, and that takes any object.
    let iterator = unsafe { coroutine.cast_unchecked::<PyIterator>() };
    Ok(match iterator.send(py.None().bind(py))? {
        PySendResult::Return(value) => (true, value),
        PySendResult::Next(value) => (false, value),
    })
}
