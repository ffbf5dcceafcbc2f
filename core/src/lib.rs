//! Services that find each other by name and call each other.
//!
//! A [`Service`] announces itself and answers; a [`Client`] finds it and calls. Discovery, balancing,
//! deadlines, retries and an orderly end are part of every call, in this process: there is nothing
//! to install or run beside it. The wire is plain gRPC, and that of go-micro v2 for go-micro peers.
//!
//! ```
//! use std::sync::Arc;
//!
//! use micro::registry::Memory;
//! use micro::{Client, Context, Json, Service};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! // Both sides in one process, for the sake of the example; left out, they meet over mDNS.
//! let registry = Arc::new(Memory::new());
//! let service = Service::builder("greeter")
//!     .registry(registry.clone())
//!     .address("127.0.0.1:0")
//!     .endpoint("Greeter.Hello", |_: Context, Json(name): Json<String>| async move {
//!         Ok(Json(format!("Hello, {name}!")))
//!     })
//!     .start()
//!     .await?;
//!
//! let client = Client::builder().registry(registry).build()?;
//! let Json(reply): Json<String> =
//!     client.call("greeter", "Greeter.Hello", Json("Ada".to_owned())).await?;
//! assert_eq!(reply, "Hello, Ada!");
//! service.stop().await
//! # }
//! ```
//!
//! A service of one's own usually ends with [`run`](service::ServiceBuilder::run) instead, which
//! serves until SIGTERM or Ctrl-C.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | a service: endpoints, hooks, the way up and down | [`service`] |
//! | calls, streams and their terms | [`client`] |
//! | limits, health; a server without a registry | [`server`] |
//! | what stands around calls, on either side | [`middleware`] |
//! | what handlers know of a call | [`Context`], [`Metadata`] |
//! | failures: what, where, how often tried | [`Error`], [`Code`] |
//! | JSON, protobuf, bytes | [`codec`] |
//! | messages by topic | [`broker`] |
//! | records by key | [`store`] |
//! | locks, leaders and limits of a fleet | [`sync`] |
//! | work by the clock | [`jobs`] |
//! | work whose answer is asked for later | [`tasks`] |
//! | events within a process, and bursts of them | [`pubsub`], [`bursts`] |
//! | ids that grow with time | [`snowflake`] |
//! | a folder of messages that needs looking after | [`data`] |
//! | who runs where | [`registry`] |
//! | an implementation of one's own, chosen by URL | [`plugin`] |
//! | what a client knows of them | [`directory`] |
//! | which node gets the call | [`selector`] |
//! | what is tried again, and how often | [`resilience`] |
//! | counts, latencies, traces | [`telemetry`] |
//! | who is calling | [`auth`] |
//! | certificates | [`ServerTls`], [`ClientTls`] |
//! | configuration of one's own, followed while the program runs | [`config`] |
//! | all of this from a document | [`settings`] |
//! | tests without sockets | [`testing::Fleet`] |
//!
//! Everything needs a tokio runtime with time and I/O enabled.
#![forbid(unsafe_code)]

mod atomic;
pub mod auth;
pub mod broker;
pub mod bursts;
pub mod client;
pub mod codec;
pub mod config;
mod context;
#[cfg(unix)]
pub mod data;
pub mod directory;
mod error;
pub mod fork;
mod forward;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod interface;
pub mod jobs;
mod metadata;
pub mod middleware;
mod named;
pub mod plugin;
mod proto;
pub mod pubsub;
pub mod registry;
pub mod resilience;
pub mod selector;
pub mod server;
pub mod service;
pub mod settings;
mod shape;
pub mod snowflake;
mod spelling;
pub mod store;
mod streaming;
pub mod sync;
pub mod tasks;
pub mod telemetry;
pub mod testing;
mod time;
#[cfg(feature = "tonic")]
pub mod tonic;
mod transport;

pub use client::Client;
pub use codec::{Codec, Json, Message, Proto, Raw, Side};
pub use context::Context;
pub use error::{Code, Detail, Error, Origin, Reach, Reason, Result};
pub use forward::{Credentials, Forward};
pub use metadata::Metadata;
pub use service::Service;
pub use shape::Shape;
pub use streaming::{Messages, Streaming};
pub use time::deadline_after;
#[doc(hidden)]
pub use transport::Hold;
pub use transport::network;
pub use transport::{ClientTls, Compression, DEFAULT_MAX_MESSAGE, Pem, ServerTls, TlsPolicy};
