//! A host in Rust: one queue, drained by the test.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use micro_bridge::{Client, Event, EventKind, Question, Queue, Request, Runtime, Server, Shape};

/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Host {
    pub(crate) runtime: Runtime,
    pub(crate) queue: Arc<Queue>,
    fleet: String,
    /// What came while something else was waited for.
    aside: RefCell<VecDeque<Event>>,
}

/// A call of `Greeter.Hello`.
pub(crate) fn echo(service: &str) -> Request<'_> {
    Request { service, endpoint: "Greeter.Hello", payload: "hello".into(), ..Request::default() }
}

/// Arguments that name the greeter.
pub(crate) const GREETER: &str = r#"{"service": "greeter"}"#;

/// A question.
pub(crate) fn of(operation: u32, args: &str) -> Question<'_> {
    Question { operation, args, ..Question::default() }
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::on(&Runtime::new(r#"{ "workers": 2 }"#).unwrap())
    }

    /// Another host on the same runtime.
    pub(crate) fn on(runtime: &Runtime) -> Self {
        let queue = runtime.new_queue().unwrap();
        // Tests of one process share registries of one name.
        let fleet = format!("{queue:p}");
        Self { runtime: runtime.clone(), queue, fleet, aside: RefCell::default() }
    }

    /// Options that meet in memory only.
    fn fleet(&self) -> String {
        format!(r#""registry": "memory://{0}", "network": "memory://{0}""#, self.fleet)
    }

    pub(crate) fn client(&self, options: &str) -> Client {
        Client::new(&self.runtime, &format!("{{ {} {options} }}", self.fleet())).unwrap()
    }

    /// Starts a service and returns a client of it.
    pub(crate) fn serve(&self, name: &str, endpoints: &[(&str, Shape)]) -> Client {
        let options = format!(r#"{{ {}, "address": "127.0.0.1:0", "grace": "1s" }}"#, self.fleet());
        let server = Server::new(&self.runtime, name, &options).unwrap();
        for (endpoint, kind) in endpoints {
            server.method(endpoint, *kind, "").unwrap();
        }
        server.start(&self.queue, 100).unwrap();
        // A watch may hear of it before.
        let event = self.next(EventKind::Opened);
        assert_eq!(event.token, 100, "{event:?}");
        self.client("")
    }

    /// The next event.
    pub(crate) fn any(&self) -> Event {
        let aside = self.aside.borrow_mut().pop_front();
        aside.unwrap_or_else(|| self.fresh())
    }

    /// The next event of this kind; others are for later.
    pub(crate) fn next(&self, kind: EventKind) -> Event {
        let found = self.aside.borrow().iter().position(|event| event.kind == kind);
        if let Some(found) = found {
            return self.aside.borrow_mut().remove(found).unwrap();
        }
        loop {
            let event = self.fresh();
            if event.kind == kind {
                return event;
            }
            self.aside.borrow_mut().push_back(event);
        }
    }

    fn fresh(&self) -> Event {
        let mut got = None;
        self.queue.wait(1, Some(PATIENCE), |event| got = Some(event));
        got.unwrap_or_else(|| panic!("no event in time, but {:?}", self.aside.borrow()))
    }

    /// Nothing comes for a moment.
    pub(crate) fn quiet(&self) -> bool {
        let mut got = None;
        self.queue.wait(1, Some(Duration::from_millis(50)), |event| got = Some(event));
        let quiet = got.is_none();
        self.aside.borrow_mut().extend(got);
        quiet
    }

    /// Something is there, and stays there.
    pub(crate) fn wait_for_something(&self) {
        let begun = std::time::Instant::now();
        while self.queue.is_empty() {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
    }

    /// Ends the runtime.
    pub(crate) fn end(self) {
        self.runtime.free();
    }
}
