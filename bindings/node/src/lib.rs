//! The native part of the Node package `@micro/core`: converts types and calls one function of the bridge.
//!
//! Only JavaScript's own threads touch JavaScript: whatever happens is fetched from a queue, whose bell rings the event loop.
//! What fails is returned as a `Failure`, never thrown. Everything a user sees is written in TypeScript, in
//! `lib`.

mod client;
mod failure;
mod number;
mod payload;
mod queue;
mod runtime;
mod server;
mod sheet;

use napi_derive::napi;

/// The version of the core that this is built on.
#[napi]
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
