//! `micro`: services that find and call each other by name.
#![forbid(unsafe_code)]

pub mod auth;
pub mod client;
pub mod codec;
mod context;
mod error;
mod metadata;
mod proto;
pub mod registry;
pub mod resilience;
pub mod selector;
pub mod server;
pub mod service;
mod streaming;
pub mod telemetry;
mod transport;

pub use client::Client;
pub use codec::{Codec, Json, Message, Proto, Raw, Side};
pub use context::Context;
pub use error::{Code, Error, Origin, Reach, Result};
pub use metadata::Metadata;
pub use service::Service;
pub use streaming::{Messages, Streaming};
pub use transport::{ClientTls, Compression, DEFAULT_MAX_MESSAGE, ServerTls};
