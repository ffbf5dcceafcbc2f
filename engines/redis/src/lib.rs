//! Redis 7 and later, and Valkey: messages over its streams, at least once, shared by queues, delayed and replayed, and records that
//! are changed in batches, listed in order and watched.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! micro_redis::provide()?;
//! let broker = micro::broker::connect("redis://127.0.0.1:6379/0")?;
//! broker.publish(micro::broker::Message::new("orders", "7")).await
//! # }
//! ```
//!
//! The command and the bindings have the schemes from the start. A topic is a stream whose key is the topic, and a queue is a consumer
//! group of it. What a URL may say of messages is in `docs/messages.md`. Of records it may say:
//!
//! | option | default | |
//! |---|---|---|
//! | `prefix` | none | what stands before every key; all keys of a store begin with it and `{micro:store}:` |
//! | `eviction` | `refused` | `allowed` takes a server, too, that removes records when its memory is full |
//! | `ca` | the system's | the file of an authority, for `rediss://` |
//!
//! A server is looked at when it is connected: a replica, a node of a cluster and one that evicts are refused, and of one that does not
//! sync what it is told a warning is logged. A process that forks connects in its children anew: what its parent
//! had open is not theirs to use.
#![forbid(unsafe_code)]

mod address;
mod broker;
mod desk;
mod entry;
mod flow;
mod link;
mod options;
mod scripts;
mod settle;
mod shared;
mod store;
mod upkeep;

use std::sync::Arc;

use micro::Result;
use micro::broker::Broker;
use micro::store::Store;

pub use self::broker::Redis;
pub use self::store::RedisStore;

/// Makes `redis://` and `rediss://`, which is the same by TLS, known to this process as brokers and as stores, see
/// [`micro::broker::provide`] and [`micro::store::provide`].
///
/// # Errors
/// `ALREADY_EXISTS` when one of the schemes is taken; those that are not are known nevertheless.
pub fn provide() -> Result<()> {
    let mut provided = Ok(());
    for scheme in ["redis", "rediss"] {
        let broker = micro::broker::provide(scheme, move |rest| {
            Ok(Arc::new(Redis::new(scheme, rest)?) as Arc<dyn Broker>)
        });
        let store = micro::store::provide(scheme, move |rest| {
            Ok(Arc::new(RedisStore::new(scheme, rest)?) as Arc<dyn Store>)
        });
        provided = provided.and(broker.map(drop)).and(store.map(drop));
    }
    provided
}
