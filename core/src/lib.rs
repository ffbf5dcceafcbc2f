//! `micro`: services that find and call each other by name.
#![forbid(unsafe_code)]

pub mod auth;
pub mod codec;
mod context;
mod error;
mod metadata;
pub mod registry;
pub mod telemetry;

pub use codec::{Codec, Json, Message, Proto, Raw, Side};
pub use context::Context;
pub use error::{Code, Error, Origin, Reach, Result};
pub use metadata::Metadata;
