//! What every binding shares: one safe, FFI-shaped façade over the core.
//!
//! Foreign code pulls, Rust never pushes. A host *submits* operations, which return at once, and *drains* a [`Queue`]: replies,
//! inbound calls, messages of streams, changes of the registry and log records all come out of it as [`Event`]s, many at a
//! time behind one coalesced wake-up. No thread of this crate runs foreign code, except for a [`Wake`].
//!
//! Three promises, each with a test:
//!
//! 1. every operation that was accepted ends in exactly one terminal event (`Completion`);
//! 2. every inbound call gets exactly one answer on the wire, also if its handler forgets it (`inbound`);
//! 3. after [`EventKind::Closed`] a queue wakes no thread any more.
//!
//! Long-lived things are objects: [`Runtime`], [`Queue`], [`Client`], [`Server`]. What comes and goes by the thousand (calls,
//! streams, watches) is an [`Id`]; one that is over gives [`Status::STALE`], never another thing.
//!
//! A shell (`ffi/c`, the native parts of `bindings/*`) converts types and calls one function here. If it wants an `if` about
//! what something means, that belongs here, or in the core.
#![forbid(unsafe_code)]

mod client;
mod completion;
mod credit;
mod delivery;
mod desk;
mod engines;
mod event;
mod failure;
pub mod flags;
mod flow;
pub mod fork;
mod guard;
mod id;
mod inbound;
mod inbox;
mod leases;
mod lending;
pub mod live;
pub mod log;
mod metadata;
mod operation;
pub mod operations;
mod outbox;
mod own;
mod planned;
pub mod provided;
mod publication;
mod question;
mod queue;
mod request;
mod run;
mod runtime;
mod server;
mod shared;
mod slab;
pub mod stamp;
mod status;
mod stream;
mod sync;
mod things;
mod threads;
mod wake;
mod within;

pub use client::Client;
pub use delivery::verdict;
pub use event::{Event, EventKind, NO_TIMEOUT};
pub use failure::{Failure, Result};
pub use guard::guard;
pub use id::{Id, IdKind};
pub use metadata::{Headers, add, pack, unpack};
pub use own::with_args;
pub use publication::Publication;
pub use question::Question;
pub use queue::Queue;
pub use request::{Request, request_flags, shape};
pub use runtime::Runtime;
pub use server::Server;
pub use status::Status;
pub use wake::{Callback, Wake};

pub use micro::Shape;

/// The core this bridge is built on, so that a shell sees one version of it.
pub use micro as core;
