//! Calls that came in: their first steps, and their answers.

use std::time::Instant;

use micro_bridge::core::Error;
use micro_bridge::{Event, Id};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;

use super::Queue;
use crate::context::Context;
use crate::eager::{Step, Steps};
use crate::failure;
use crate::payload::{bytes_of, message};
use crate::sink::{Endpoint, Host, Sink, Way};

impl Queue {
    /// A call came in.
    pub(super) fn begin(&self, py: Python<'_>, mut event: Event, taken: Instant) -> PyResult<()> {
        let Some(Sink::Host(host)) = self.state().sinks.get(py, event.token) else { return Ok(()) };
        let Some(endpoint) = host.endpoint(event.method) else { return Ok(()) };
        let context = Context::new(&host.runtime, &mut event, taken);
        if context.is_late(taken) {
            let late = Error::deadline_exceeded(
                "the caller no longer waited for this call when its turn came",
            );
            return context.answer(py, Err(late.with_id("micro")));
        }
        let context = Py::new(py, context)?;
        if endpoint.way != Way::Eager {
            self.state().calls.insert(event.id, context.clone_ref(py));
        }
        let begun = message(py, event.payload)
            .and_then(|payload| endpoint.serve.call1(py, (payload, &context)))
            .and_then(|made| match endpoint.way {
                Way::Direct => Ok(()),
                _ => self.step(py, (&host, endpoint), context.bind(py), made.bind(py)),
            });
        match begun {
            Err(error) => self.fail(py, &context, &endpoint.name, error),
            Ok(()) => Ok(()),
        }
    }

    fn step<'py>(
        &self,
        py: Python<'py>,
        (host, endpoint): (&Host, &Endpoint),
        context: &Bound<'py, Context>,
        coroutine: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let steps = self.steps.get(py).ok_or_else(|| {
            PyRuntimeError::new_err("this queue serves no event loop: a bug in micro")
        })?;
        let spare = self.spare(py, steps)?;
        let first = steps.first(py, &host.base, &spare, context.as_any(), coroutine);
        if !matches!(first, Ok(Step::Waits(..))) {
            let _ = self.keep(spare.clone().unbind());
        }
        match first? {
            Step::Returned(answer) => self.finish(py, context.get(), &answer),
            Step::Waits(yielded, within) => {
                self.state().calls.insert(context.get().key(), context.clone().unbind());
                let arguments = (context, coroutine, within, yielded, endpoint.name.as_str());
                spare.call_method1(intern!(py, "adopt"), arguments).map(drop)
            }
        }
    }

    /// A task for a first step.
    fn spare<'py>(&self, py: Python<'py>, steps: &Steps) -> PyResult<Bound<'py, PyAny>> {
        loop {
            let kept = self.state().spares.pop();
            let Some(spare) = kept else { return steps.spare.bind(py).call0() };
            // It may have been cancelled meanwhile, with all other tasks.
            if spare.bind(py).call_method0(intern!(py, "is_idle"))?.is_truthy()? {
                return Ok(spare.into_bound(py));
            }
        }
    }

    pub(super) fn finish(
        &self,
        py: Python<'_>,
        context: &Context,
        answer: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.forget(context);
        context.answer(py, Ok(bytes_of(answer)?))
    }

    pub(super) fn fail(
        &self,
        py: Python<'_>,
        context: &Py<Context>,
        endpoint: &str,
        error: PyErr,
    ) -> PyResult<()> {
        let context = context.get();
        self.forget(context);
        context.answer(py, Err(failure::answer(py, &error, endpoint)))?;
        if failure::is_exit(py, &error) { Err(error) } else { Ok(()) }
    }

    pub(crate) fn forget(&self, context: &Context) {
        let call = self.state().calls.remove(&context.key());
        drop(call);
        context.end();
    }

    pub(super) fn call(&self, py: Python<'_>, id: Id, over: bool) -> Option<Py<Context>> {
        let mut state = self.state();
        if over { state.calls.remove(&id) } else { state.calls.get(&id).map(|c| c.clone_ref(py)) }
    }

    pub(super) fn with_call(
        &self,
        py: Python<'_>,
        id: Id,
        over: bool,
        tell: impl FnOnce(&Context) -> PyResult<()>,
    ) -> PyResult<()> {
        self.call(py, id, over).map_or(Ok(()), |call| tell(call.get()))
    }
}
