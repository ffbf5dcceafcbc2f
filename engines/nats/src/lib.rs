//! Messages over NATS: `nats://` is its core, at most once, as programs with go-micro v2 use it; `jetstream://` is kept by the
//! server, and at least once.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! micro_nats::provide()?;
//! let broker = micro::broker::connect("jetstream://127.0.0.1:4222")?;
//! broker.publish(micro::broker::Message::new("orders", "7")).await
//! # }
//! ```
//!
//! The command and the bindings have both schemes from the start. What a URL may say is in `docs/messages.md`. A process that
//! forks connects in its children anew: what its parent had open is not theirs to use.
#![forbid(unsafe_code)]

mod core;
mod jetstream;
mod link;
mod options;
mod subject;

use std::sync::Arc;

use micro::Result;
use micro::broker::Broker;

pub use self::core::Nats;
pub use self::jetstream::JetStream;

/// Makes `nats://` and `jetstream://` known to this process, see [`micro::broker::provide`].
///
/// # Errors
/// `ALREADY_EXISTS` when one of the schemes is taken.
pub fn provide() -> Result<()> {
    micro::broker::provide("nats", |rest| Ok(Arc::new(Nats::new(rest)?) as Arc<dyn Broker>))?;
    micro::broker::provide("jetstream", |rest| {
        Ok(Arc::new(JetStream::new(rest)?) as Arc<dyn Broker>)
    })?;
    Ok(())
}
