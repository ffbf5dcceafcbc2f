//! Calls, streams and questions.

use micro_bridge::{Publication, Question, Request, operations, request_flags};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use crate::failure::OrRaise as _;
use crate::held::Held;
use crate::queue::Queue;
use crate::runtime::Runtime;
use crate::sink::Sink;

/// Calls services by name.
#[pyclass(frozen, module = "micro._micro")]
pub(crate) struct Client(pub(crate) Held<micro_bridge::Client>);

/// A request as Python gives it: service, endpoint, payload, metadata, nanoseconds, parent, options and flags.
type Terms<'py> =
    (String, String, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, u64, u64, String, u32);

/// A message as Python gives it: topic, payload, metadata, nanoseconds, parent, options and flags.
type Message<'py> = (String, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, u64, u64, String, u32);

/// A question as Python gives it: the operation's name, JSON arguments, nanoseconds and parent.
type Asked = (PyBackedStr, PyBackedStr, u64, u64);

#[pymethods]
impl Client {
    #[new]
    fn new(py: Python<'_>, runtime: &Runtime, options: &str) -> PyResult<Self> {
        let client = py.detach(|| micro_bridge::Client::new(&runtime.0, options));
        Ok(Self(Held::new(client.or_raise(py)?)))
    }

    /// Makes a call; `future` is told the answer. Returns its id.
    fn call(
        &self,
        py: Python<'_>,
        queue: &Queue,
        future: Py<PyAny>,
        terms: Terms<'_>,
    ) -> PyResult<u64> {
        with_request(terms, |request| {
            queue.begin_with(py, Sink::Future(future), |token| {
                self.0.call(queue.bridge(), request, token)
            })
        })
    }

    /// Opens a stream; `stream` is told what happens to it. Returns its id.
    fn open(
        &self,
        py: Python<'_>,
        queue: &Queue,
        stream: Py<PyAny>,
        shape: u32,
        terms: Terms<'_>,
    ) -> PyResult<u64> {
        let shape = micro_bridge::shape(shape).or_raise(py)?;
        with_request(terms, |request| {
            queue.begin_with(py, Sink::Stream(stream), |token| {
                self.0.open(queue.bridge(), request, shape, token)
            })
        })
    }

    /// Publishes a message; `future` is told when that is done. Returns its id.
    fn publish(
        &self,
        py: Python<'_>,
        queue: &Queue,
        future: Py<PyAny>,
        message: Message<'_>,
    ) -> PyResult<u64> {
        let (topic, payload, meta, timeout_ns, parent, options, flags) = message;
        let meta = meta.map_or_else(|| Ok(Vec::new()), |meta| crate::headers::block(&meta))?;
        let publication = Publication {
            topic: &topic,
            payload: crate::payload::bytes_of(&payload)?,
            meta: &meta,
            timeout_ns,
            parent: micro_bridge::Id::from_raw(parent),
            options: &options,
            flags,
        };
        queue.begin_with(py, Sink::Future(future), |token| {
            self.0.publish(queue.bridge(), publication, token)
        })
    }

    /// Asks a question; `future` is told the answer. Returns its id.
    fn ask(&self, py: Python<'_>, queue: &Queue, future: Py<PyAny>, asked: Asked) -> PyResult<u64> {
        with_question(asked, |question| {
            queue.begin_with(py, Sink::Future(future), |token| {
                self.0.ask(queue.bridge(), question, token)
            })
        })
    }

    /// Follows something; `stream` is told what happens. Returns its id.
    fn follow(
        &self,
        py: Python<'_>,
        queue: &Queue,
        stream: Py<PyAny>,
        asked: Asked,
    ) -> PyResult<u64> {
        with_question(asked, |question| {
            queue.begin_with(py, Sink::Stream(stream), |token| {
                self.0.follow(queue.bridge(), question, token)
            })
        })
    }
}

fn with_request<R>(terms: Terms<'_>, run: impl FnOnce(Request<'_>) -> PyResult<R>) -> PyResult<R> {
    let (service, endpoint, payload, meta, timeout_ns, parent, options, flags) = terms;
    let meta = meta.map_or_else(|| Ok(Vec::new()), |meta| crate::headers::block(&meta))?;
    run(Request {
        service: &service,
        endpoint: &endpoint,
        payload: crate::payload::bytes_of(&payload)?,
        meta: &meta,
        timeout_ns,
        parent: micro_bridge::Id::from_raw(parent),
        options: &options,
        flags,
    })
}

fn with_question<R>(asked: Asked, run: impl FnOnce(Question<'_>) -> PyResult<R>) -> PyResult<R> {
    let (operation, args, timeout_ns, parent) = asked;
    run(Question {
        operation: operations::number(&operation).unwrap_or_default(),
        args: &args,
        timeout_ns,
        parent: micro_bridge::Id::from_raw(parent),
        flags: request_flags::WAIT,
        ..Question::default()
    })
}
