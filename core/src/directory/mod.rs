//! What a caller knows of the fleet: snapshots of services, read without a lock and kept current by one
//! watch, with what the caller learned about each node by calling it.
//!
//! The first call to a service reads it from the registry; from then on a background task applies
//! what the watch reports. One watch covers all services: registries that multiplex (mDNS, a local
//! folder) see every change anyway, and a process has one stream to re-establish instead of one
//! per service it ever called.
//!
//! While the registry is down the last known set stays: nothing is removed on the word of a
//! registry that cannot be asked. When the watch is back, everything known is read again.
//!
//! [`Cache`] stands in front of any [`Registry`](crate::registry::Registry). A [`Snapshot`] holds the
//! [nodes](crate::selector::Node) of one service, which a strategy of [`selector`](crate::selector)
//! chooses among.

mod awaited;
mod cache;
mod follow;
mod intern;
mod snapshot;
#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use snapshot::Snapshot;
