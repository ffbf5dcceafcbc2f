//! Failures as exceptions of Python, and the other way round. The classes are in `micro/_errors.py`.

use std::time::Duration;

use bytes::Bytes;
use micro_bridge::core::{Code, Detail, Error};
use micro_bridge::{Failure, Result};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

/// The exception of a failure. `meta` are the headers and trailers that came with it.
pub(crate) fn exception(py: Python<'_>, failure: &Failure, meta: &[u8]) -> PyErr {
    made(py, failure, meta).map_or_else(|error| error, PyErr::from_value)
}

fn made<'py>(py: Python<'py>, failure: &Failure, meta: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let _inside = crate::ending::Inside::enter();
    let make = MAKE.import(py, "micro._errors", "from_native")?;
    let status = failure.status();
    let origin = failure.origin().map(|origin| {
        (origin.service.as_str(), origin.endpoint.as_str(), origin.node.as_str(), origin.attempts)
    });
    let details = failure.attached().iter();
    let details: Vec<_> =
        details.map(|detail| (detail.type_url.as_str(), PyBytes::new(py, &detail.value))).collect();
    let code = status.code().map_or(0, Code::grpc);
    let said = (failure.id(), failure.message(), failure.http_code());
    let found = (failure.is_remote(), failure.reason());
    let rest = (origin, found, details, PyBytes::new(py, meta));
    make.call1(((status.0, status.name(), code), said, rest))
}

/// Turns failures of the bridge into exceptions.
pub(crate) trait OrRaise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|failure| exception(py, &failure, &[]))
    }
}

/// What a caller is told of an exception that a handler raised.
pub(crate) fn answer(py: Python<'_>, error: &PyErr, endpoint: &str) -> Error {
    described(py, error, endpoint).unwrap_or_else(|second| {
        unraisable(py, second);
        Error::internal(format!("{endpoint} failed: the log of its service says why"))
            .with_id("micro")
    })
}

fn described(py: Python<'_>, error: &PyErr, endpoint: &str) -> PyResult<Error> {
    static DESCRIBE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let describe = DESCRIBE.import(py, "micro._told", "describe")?;
    type Parts = (i32, i32, String, String, Vec<(String, Vec<u8>)>, f64);
    // With its traceback, which what was raised here has not got yet.
    let raised = error.clone_ref(py).into_value(py);
    let parts = describe.call1((raised, endpoint))?;
    let (code, http, id, detail, attached, away): Parts = parts.extract()?;
    let code = Code::from_grpc(code).unwrap_or(Code::Unknown);
    let error = match (code, http) {
        (_, 0) => Error::new(code, detail).with_id(id),
        // Where no code was named, it follows from go-micro's number.
        (Code::Unknown, http) => Error::from_http(id, detail, http),
        (code, http) => Error::new(code, detail).with_id(id).with_http_code(http),
    };
    let error = match Duration::try_from_secs_f64(away) {
        Ok(wait) if !wait.is_zero() => error.with_retry_after(wait),
        _ => error,
    };
    Ok(attached.into_iter().fold(error, |error, (type_url, value)| {
        error.with_attached(Detail { type_url, value: Bytes::from(value) })
    }))
}

/// True for what ends the program rather than a call.
pub(crate) fn is_exit(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<pyo3::exceptions::PySystemExit>(py)
        || error.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py)
}

/// Reports an exception that no code is there to catch.
pub(crate) fn unraisable(py: Python<'_>, error: PyErr) {
    error.write_unraisable(py, Some(&intern!(py, "micro").clone().into_any()));
}
