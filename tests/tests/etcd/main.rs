//! A store over a real etcd: what every store promises, and what becomes of it when the server ends or is of no use.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it expected by failing, and which promise it is at"
)]

mod bounds;
mod contract;
mod trouble;
mod users;

use micro::store::{Change, Event, Place, Store, Watch};
use micro_etcd::Etcd;
use micro_tests::ours::PATIENCE;
use micro_tests::servers::Server;
use tokio::time::timeout;

fn store(server: &Server) -> Etcd {
    Etcd::new("etcd", &server.address()).unwrap()
}

fn write(key: &str, value: impl Into<String>) -> Change {
    Change::write(Place::default(), key, value.into())
}

fn watching(after: Option<u64>) -> Watch {
    Watch { place: Place::default(), prefix: String::new(), after }
}

async fn version(store: &Etcd, change: Change) -> u64 {
    store.apply(change.into()).await.unwrap()[0]
}

async fn next(changes: &mut Box<dyn micro::store::Changes>) -> micro::Result<Event> {
    timeout(PATIENCE, changes.next()).await.expect("in time").map(|event| event.expect("one"))
}
