//! Answers calls: one port, gRPC, gRPC-Web and Connect, endpoints found by name.
//!
//! A server is usually part of a [`crate::Service`], which also registers it. Alone it is plain
//! gRPC:
//!
//! ```
//! use micro::server::{Endpoint, Server};
//! use micro::{Context, Raw};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! let server = Server::builder("echo")
//!     .address("127.0.0.1:0")
//!     .handle(Endpoint::unary("Echo.Call", |_: Context, request: Raw| async move { Ok(request) }))
//!     .start()
//!     .await?;
//! println!("listening on {}", server.address());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Every server also answers `grpc.health.v1`, `grpc.reflection.v1` and `v1alpha`, and go-micro's
//! `Debug.Health` and `Debug.Stats`.
//!
//! # What HTTP/2 does not let through
//!
//! Requests of go-micro clients with HTTP/1 headers (`content-length`, `connection`, …) as metadata
//! are served, see `transport/relax`. A path without a leading slash is refused by the `h2` crate with a stream
//! reset before this code sees it, where grpc-go answers with a status; no client sends one unless
//! its user misspells an endpoint.

mod admission;
mod arriving;
mod builder;
mod call;
mod connection;
mod converse;
mod cors;
mod debug;
mod described;
mod descriptors;
mod dispatch;
mod encoded;
mod endpoint;
pub(crate) mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handler;
mod health;
mod in_flight;
mod listener;
#[cfg(feature = "tonic")]
pub(crate) mod mount;
#[cfg(feature = "tonic")]
mod mounted;
mod path;
mod ports;
mod protocol;
mod query;
mod reflection;
mod reply;
mod requests;
mod routes;
mod running;
mod transcoded;
mod unsent;

pub(crate) use debug::warm_up;

pub use builder::ServerBuilder;
pub use endpoint::Endpoint;
pub use handler::{Body, Handler, Request, Response};
pub use health::Health;
pub use path::Path;
pub use query::Query;
pub use running::Server;

pub use crate::middleware::BoxFuture;
pub use crate::shape::Shape;
