//! Messages over streams of Redis 7 and later, and of Valkey: at least once, shared by queues, delayed and replayed.
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
//! group of it. What a URL may say is in `docs/messages.md`. A process that forks connects in its children anew: what its parent
//! had open is not theirs to use.
#![forbid(unsafe_code)]

mod broker;
mod desk;
mod entry;
mod flow;
mod link;
mod options;
mod scripts;
mod settle;
mod shared;
mod upkeep;

use std::sync::Arc;

use micro::Result;
use micro::broker::Broker;

pub use self::broker::Redis;

/// Makes `redis://` and `rediss://`, which is the same by TLS, known to this process, see [`micro::broker::provide`].
///
/// # Errors
/// `ALREADY_EXISTS` when one of the schemes is taken.
pub fn provide() -> Result<()> {
    for scheme in ["redis", "rediss"] {
        micro::broker::provide(scheme, move |rest| {
            Ok(Arc::new(Redis::new(scheme, rest)?) as Arc<dyn Broker>)
        })?;
    }
    Ok(())
}
