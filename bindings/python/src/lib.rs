//! The native part of the Python package `micro`: converts types and calls one function of the bridge.
//!
//! Only threads of Python touch the interpreter: whatever happens is fetched from a queue, whose descriptor the
//! event loop watches. Everything a user sees is written in Python, in `python/micro`.

mod client;
mod context;
mod eager;
mod ending;
mod failure;
mod headers;
mod held;
mod payload;
mod queue;
mod runtime;
mod server;
mod sink;

use pyo3::prelude::*;

/// The native part of `micro`. Private: use `micro`.
#[pymodule]
mod _micro {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::client::Client;
    #[pymodule_export]
    use crate::context::Context;
    #[pymodule_export]
    use crate::eager::step;
    #[pymodule_export]
    use crate::ending::{end, inside};
    #[pymodule_export]
    use crate::headers::{pack, unpack};
    #[pymodule_export]
    use crate::payload::Payload;
    #[pymodule_export]
    use crate::queue::Queue;
    #[pymodule_export]
    use crate::runtime::{Runtime, codec, live, set_log_level};
    #[pymodule_export]
    use crate::server::{Server, explain, provide};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // Before any thread of Python can fork.
        micro_bridge::fork::watch();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
