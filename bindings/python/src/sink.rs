//! Who in Python is told what: one sink for each operation under way, found by its token.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::held::Held;

/// Who is told.
pub(crate) enum Sink {
    /// A future, or what has its methods: told the one answer as `(payload, flags, meta)`.
    Future(Py<PyAny>),
    /// A stream or a watch: `_opened`, `_message`, `_writable` and last `_end`.
    Stream(Py<PyAny>),
    /// A service, or what is provided.
    Host(Arc<Host>),
}

/// A service whose calls come out of a queue, or something provided, which is asked in the same way.
pub(crate) struct Host {
    /// `_opened` and last `_ended`.
    pub(crate) object: Py<PyAny>,
    /// Number of the first endpoint: 0 of a service, an operation of what is provided.
    pub(crate) first: u32,
    /// Endpoints, in the order of their numbers.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The `contextvars.Context` each call gets a copy of.
    pub(crate) base: Py<PyAny>,
    pub(crate) runtime: Arc<Held<micro_bridge::Runtime>>,
}

impl Host {
    /// The endpoint that events call `number`.
    pub(crate) fn endpoint(&self, number: u32) -> Option<&Endpoint> {
        self.endpoints.get(number.checked_sub(self.first)? as usize)
    }
}

pub(crate) struct Endpoint {
    pub(crate) name: String,
    /// Called with the payload and the context of a call.
    pub(crate) serve: Py<PyAny>,
    pub(crate) way: Way,
}

/// How an endpoint is served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A coroutine that ends in the answer; most of them without ever waiting.
    Eager,
    /// As that, and it reads or writes a stream.
    Streaming,
    /// A function that sees to the answer itself, for example on a thread.
    Direct,
}

/// Sinks by token. A place is free again after the terminal event of its operation, which is the last that names it.
#[derive(Default)]
pub(crate) struct Sinks {
    places: Vec<Option<Sink>>,
    free: Vec<usize>,
}

impl Sinks {
    pub(crate) fn add(&mut self, sink: Sink) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(sink);
        place as u64
    }

    pub(crate) fn get(&self, py: Python<'_>, token: u64) -> Option<Sink> {
        let sink = self.places.get(usize::try_from(token).ok()?)?.as_ref()?;
        Some(match sink {
            Sink::Future(object) => Sink::Future(object.clone_ref(py)),
            Sink::Stream(object) => Sink::Stream(object.clone_ref(py)),
            Sink::Host(host) => Sink::Host(host.clone()),
        })
    }

    pub(crate) fn take(&mut self, token: u64) -> Option<Sink> {
        let place = usize::try_from(token).ok()?;
        let sink = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(sink)
    }

    /// All that still wait.
    pub(crate) fn take_all(&mut self) -> Vec<Sink> {
        self.free.clear();
        std::mem::take(&mut self.places).into_iter().flatten().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}
