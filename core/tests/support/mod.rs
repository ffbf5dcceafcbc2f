//! What several test files need: a registry, a client and services that answer in a known way.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

pub(crate) mod layers;

use std::sync::Arc;

use micro::registry::{Memory, Registry};
use micro::server::Endpoint;
use micro::service::ServiceBuilder;
use micro::{Client, Context, Raw, Result, Service};
use tokio::sync::Notify;

/// A registry of this test alone.
pub(crate) fn memory() -> Arc<Memory> {
    Arc::new(Memory::new())
}

/// A client of that registry.
pub(crate) fn client(registry: &Arc<Memory>) -> Client {
    Client::builder().registry(registry.clone()).build().expect("a client")
}

/// A service on loopback in that registry, with no wait for propagation.
pub(crate) fn service(registry: &Arc<Memory>, name: &str) -> ServiceBuilder {
    Service::builder(name)
        .address("127.0.0.1:0")
        .registry(registry.clone() as Arc<dyn Registry>)
        .handle_signals(false)
}

/// Answers with the request.
pub(crate) fn echo() -> Endpoint {
    Endpoint::unary("Echo.Call", |_: Context, request: Raw| async move { Ok(request) })
}

/// Answers with the request when it is let go.
pub(crate) struct Held {
    /// Rings when a call has reached the handler.
    pub(crate) entered: Arc<Notify>,
    /// Lets one call go.
    pub(crate) release: Arc<Notify>,
}

/// `Echo.Call` that holds every call until the test lets it go.
pub(crate) fn held() -> (Endpoint, Held) {
    let held = Held { entered: Arc::default(), release: Arc::default() };
    let (entered, release) = (held.entered.clone(), held.release.clone());
    let endpoint = Endpoint::unary("Echo.Call", move |_: Context, request: Raw| {
        let (entered, release) = (entered.clone(), release.clone());
        async move {
            entered.notify_one();
            release.notified().await;
            Ok(request)
        }
    });
    (endpoint, held)
}

/// Calls `Echo.Call` of `name` with `hi`.
pub(crate) async fn call(client: &Client, name: &str) -> Result<Raw> {
    client.call(name, "Echo.Call", Raw::from("hi")).await
}
