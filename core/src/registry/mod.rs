//! What runs where: services, their nodes and endpoints, and a watch on changes.
//!
//! A [`Registry`] stores [`Service`] records. One service may be registered in several versions,
//! each with nodes of its own; a lookup returns one record per version. The record is go-micro
//! v2's, field by field, so that both see the same fleet.
//!
//! | registry | reach | chosen by |
//! |---|---|---|
//! | [`Memory`] | this process | `memory://` |
//! | [`Mdns`] | this network segment, go-micro's default | `mdns://` |
//! | [`Local`] | this machine, where multicast is blocked | `local://` |
//! | [`Auto`] | mDNS where it works, else local; the default | `auto://` |
//!
//! A program adds its own by the scheme of its URL, with [`provide`], and tests it with the [contract].
//!
//! Callers keep what they learned from a registry in a [directory](crate::directory).

mod auto;
mod connect;
pub mod contract;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guarded;
mod local;
pub mod mdns;
mod memory;
mod nullable;
mod record;
mod watch;
mod weight;
mod witness;

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;

pub use auto::Auto;
pub(crate) use connect::warm_up;
pub use connect::{connect, from_environment, provide};
pub(crate) use guarded::Guarded;
pub use local::Local;
pub use mdns::Mdns;
pub use memory::Memory;
pub(crate) use memory::in_child;
pub use record::{Action, Change, Endpoint, Labels, Node, Service, Value};
pub(crate) use record::{COMPACT, COMPACT_VERSION, TLS, TLS_NAME};
pub use watch::{WATCH_BYTES, WATCH_CAPACITY, WatchSender, Watcher};
pub use witness::Witness;
pub(crate) use witness::Witnesses;

/// A source of truth about services and nodes.
///
/// Every implementation passes the same [contract], and tests that with one line. Methods can be
/// cancelled by dropping their future; nothing is left half done that a later call would not mend.
///
/// Services and clients guard what they ask: a request that takes too long ends with
/// `DEADLINE_EXCEEDED` (10 s, or [`register_timeout`](crate::service::ServiceBuilder::register_timeout)),
/// a panic with `INTERNAL`. What blocks its thread cannot be ended, so methods wait only by `await`,
/// and those that are not `async` return at once.
#[async_trait]
pub trait Registry: Send + Sync + fmt::Debug + 'static {
    /// Adds the nodes of `service`, or refreshes them when they are known. `ttl` is how long they
    /// live without a refresh; `None` is for ever. Changed addresses, metadata or endpoints replace
    /// what was there and reach watchers as [`Action::Update`].
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a record this registry cannot hold, `UNAVAILABLE` when it is down.
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()>;

    /// Removes the nodes of `service`, and nothing else; an unknown node is no error.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the registry is down.
    async fn deregister(&self, service: &Service) -> Result<()>;

    /// Every version of `name` with its live nodes.
    ///
    /// # Errors
    /// `NOT_FOUND` when no live node has that name, `UNAVAILABLE` when the registry is down.
    async fn get(&self, name: &str) -> Result<Vec<Service>>;

    /// Every known service, by name, then version. Nodes and endpoints may be left out.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the registry is down.
    async fn list(&self) -> Result<Vec<Service>>;

    /// Watches one service, or all. Every change after this returns is delivered.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the registry is down.
    async fn watch(&self, service: Option<&str>) -> Result<Watcher>;

    /// Short name, for example `mdns`, as nodes advertise it.
    fn name(&self) -> &'static str;

    /// Waits until the registry knows how it works here. Asked once, before a node is registered.
    ///
    /// # Errors
    /// What would keep every other method from working.
    async fn ready(&self) -> Result<()> {
        Ok(())
    }

    /// True when a node that listens on any address is to be registered as such, with the host
    /// `0.0.0.0` or `[::]`, because this registry tells each network the address that the node has
    /// there, and follows when it changes. Services register the address of the default route
    /// elsewhere, and register anew when that changes.
    fn tells_each_interface(&self) -> bool {
        false
    }

    /// Told by callers that a node refused a connection, or that one to it broke: a registry that
    /// learns of crashes only by asking (mDNS) looks again. Returns at once.
    fn suspect(&self, _service: &str, _node: &Node) {}

    /// Given a witness that knows of nodes by talking to them: a registry that forgets what it has
    /// not heard of for a while (mDNS) asks its witnesses first, and keeps a node that one of them
    /// vouches for until that ends or the node says goodbye. A witness that is gone is let go.
    fn witness(&self, _witness: Weak<dyn Witness>) {}
}
