//! What connections are made of: TCP, or pipes inside one process.
//!
//! Servers and clients make and accept connections through a [`Network`], [`Tcp`] unless their
//! builders are given another. TLS, HTTP/2, deadlines and the orderly end are the same over all of
//! them. With [`Memory`], whole fleets run in one test without a socket:
//!
//! ```
//! use std::sync::Arc;
//!
//! use micro::{Client, Context, Json, Service, network, registry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! let registry = Arc::new(registry::Memory::new());
//! let network = Arc::new(network::Memory::new());
//! let service = Service::builder("greeter")
//!     .registry(registry.clone())
//!     .network(network.clone())
//!     .endpoint("Greeter.Hello", |_: Context, Json(name): Json<String>| async move {
//!         Ok(Json(format!("Hello, {name}!")))
//!     })
//!     .start()
//!     .await?;
//!
//! let client = Client::builder().registry(registry).network(network).build()?;
//! let Json(reply): Json<String> =
//!     client.call("greeter", "Greeter.Hello", Json("Ada".to_owned())).await?;
//! assert_eq!(reply, "Hello, Ada!");
//! service.stop().await
//! # }
//! ```

mod connect;
mod io;
mod memory;
mod race;
mod tcp;

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;

pub use connect::connect;
pub use io::Io;
pub use memory::Memory;
pub(crate) use memory::{in_child, warm_up};
pub(super) use race::race;
pub use tcp::Tcp;

/// Makes connections and takes them.
///
/// Both methods are bounded by their callers: a client gives up after its dial timeout.
#[async_trait]
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Connects to `host:port`; the host is a name or an IP address, IPv6 in brackets.
    ///
    /// # Errors
    /// Whatever kept it from connecting; the call counts as not sent.
    async fn connect(&self, address: &str) -> std::io::Result<Io>;

    /// Listens on `host:port`; host `0.0.0.0` is any IPv4 address, `[::]` any address of either
    /// family, port 0 a free one.
    ///
    /// # Errors
    /// Whatever kept it from listening, such as an address in use.
    async fn bind(&self, address: &str) -> std::io::Result<Box<dyn Listener>>;
}

/// Takes connections at one address. Dropped, it listens no more.
#[async_trait]
pub trait Listener: Send + Sync {
    /// The next connection and the address of its peer. May be cancelled without losing one.
    ///
    /// # Errors
    /// Why this one could not be taken; the server pauses a moment and asks again.
    async fn accept(&self) -> std::io::Result<(Io, SocketAddr)>;

    /// Where it listens, with the port that was chosen.
    ///
    /// # Errors
    /// When the system does not tell.
    fn address(&self) -> std::io::Result<SocketAddr>;
}
