//! The C ABI of `micro`: convert, one call of the bridge, convert back.
//!
//! `include/micro.h` is generated from here (`cargo xtask abi`), and what C programmers read stands in the doc comments of the
//! exported functions. The rules that hold for all of them open the header (`cbindgen.toml`).
//!
//! # Why the unsafe code here is sound
//!
//! Every `unsafe` block reads or writes what a C caller handed over, and relies on what the header asks of callers: pointers
//! are NULL or valid for the call, objects are live ones of the right type (a word at their head is compared), `micro_bytes`
//! come from this library or borrow. Nothing here outlives the call unless the header says who owns it.
#![allow(non_camel_case_types, reason = "these are C's names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the header says once for all functions what it asks of callers"
)]
#![deny(unsafe_op_in_unsafe_fn)]

// In the order of the header; the blank lines keep it.
mod slice;

mod status;

mod abi;

mod lent;

mod bytes;

mod runtime;

mod event;

mod codec;

mod queue;

mod run;

mod client;

mod stream;

mod question;

mod server;

mod call;

mod message;

mod meta;

mod error;

mod debug;

mod given;
mod object;

pub use abi::*;
pub use bytes::*;
pub use call::*;
pub use client::*;
pub use codec::*;
pub use debug::*;
pub use error::*;
pub use event::*;
pub use lent::*;
pub use message::*;
pub use meta::*;
pub use question::*;
pub use queue::*;
pub use run::*;
pub use runtime::*;
pub use server::*;
pub use slice::*;
pub use status::*;
pub use stream::*;
