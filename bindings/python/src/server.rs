//! Services whose handlers are Python's.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::client::Client;
use crate::failure::OrRaise as _;
use crate::held::Held;
use crate::queue::Queue;
use crate::runtime::Runtime;
use crate::sink::{Endpoint, Host, Sink, Way};

/// A service: endpoints first, then it is started.
#[pyclass(frozen, module = "micro._micro")]
pub(crate) struct Server {
    server: Held<micro_bridge::Server>,
    runtime: Arc<Held<micro_bridge::Runtime>>,
}

/// An endpoint as Python gives it: its name, what serves it, and how.
type Served = (String, Py<PyAny>, u8);

#[pymethods]
impl Server {
    #[new]
    fn new(py: Python<'_>, runtime: &Runtime, name: &str, options: &str) -> PyResult<Self> {
        let server = micro_bridge::Server::new(&runtime.0, name, options).or_raise(py)?;
        Ok(Self { server: Held::new(server), runtime: runtime.0.clone() })
    }

    /// Adds an endpoint; endpoints are numbered in this order.
    fn method(&self, py: Python<'_>, name: &str, shape: u32, options: &str) -> PyResult<u32> {
        let shape = micro_bridge::shape(shape).or_raise(py)?;
        self.server.method(name, shape, options).or_raise(py)
    }

    /// Adds a subscriber to a topic; it is numbered with the endpoints.
    fn subscribe(&self, py: Python<'_>, topic: &str, options: &str) -> PyResult<u32> {
        self.server.subscribe(topic, options).or_raise(py)
    }

    /// Adds a job; it is numbered with the endpoints.
    fn job(&self, py: Python<'_>, options: &str) -> PyResult<u32> {
        self.server.job(options).or_raise(py)
    }

    /// Starts it; `host` is told when callers may come, and when it is over.
    fn start(
        &self,
        py: Python<'_>,
        queue: &Queue,
        host: Py<PyAny>,
        endpoints: Vec<Served>,
        base: Py<PyAny>,
    ) -> PyResult<u64> {
        let endpoints = endpoints.into_iter().map(endpoint).collect();
        let runtime = self.runtime.clone();
        let host = Host { object: host, first: 0, endpoints, base, runtime };
        queue.begin_with(py, Sink::Host(Arc::new(host)), |token| {
            self.server.start(queue.bridge(), token)
        })
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.server.stop().or_raise(py)
    }

    fn set_health(&self, py: Python<'_>, service: &str, serving: bool) -> PyResult<()> {
        self.server.set_health(service, serving).or_raise(py)
    }

    /// A client that calls in the name of the service.
    fn client(&self, py: Python<'_>) -> PyResult<Client> {
        Ok(Client(Held::new(self.server.client().or_raise(py)?)))
    }
}

/// Every setting of a service with what set it, as JSON. Needs no runtime.
#[pyfunction]
pub(crate) fn explain(py: Python<'_>, name: &str, options: &str) -> PyResult<String> {
    micro_bridge::Server::explain(name, options).or_raise(py)
}

/// Makes `host://name` the URL of something that `host` answers for. Returns its id; cancelling that withdraws the name.
#[pyfunction]
pub(crate) fn provide(
    py: Python<'_>,
    runtime: &Runtime,
    queue: &Queue,
    named: (u32, String),
    served: (Py<PyAny>, Vec<Served>, Py<PyAny>),
) -> PyResult<u64> {
    let ((area, name), (object, operations, base)) = (named, served);
    let endpoints = operations.into_iter().map(endpoint).collect();
    // What it can do is in the same number.
    let (first, threads) = (((area & 0xff) << 8) + 1, runtime.0.clone());
    let host = Host { object, first, endpoints, base, runtime: threads };
    queue.begin_with(py, Sink::Host(Arc::new(host)), |token| {
        runtime.0.provide(area, &name, queue.bridge(), token)
    })
}

fn endpoint((name, serve, way): Served) -> Endpoint {
    let way = match way {
        0 => Way::Eager,
        1 => Way::Streaming,
        _ => Way::Direct,
    };
    Endpoint { name, serve, way }
}
