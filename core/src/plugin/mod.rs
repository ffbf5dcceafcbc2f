//! Implementations chosen by URL: `etcd://127.0.0.1:2379` is opened by what is registered as `etcd`.
//!
//! Each area, such as registries, has one table of schemes for the whole process. What this crate
//! brings is in there from the start; a program adds its own by the same call, for example
//! [`registry::provide`](crate::registry::provide), and then a URL in the code, a document, a flag or
//! the environment chooses it.
//!
//! What a plugin does is guarded: a request that takes too long ends with `DEADLINE_EXCEEDED`, and one
//! that panics with `INTERNAL`. A plugin that blocks its thread cannot be ended: its methods wait only
//! by `await`, and those that are not `async` return at once.

mod guard;
mod schemes;

pub(crate) use guard::{bounded, caught};
pub use schemes::Provided;
pub(crate) use schemes::Schemes;
