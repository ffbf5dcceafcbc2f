//! Calls services by name.
//!
//! A call passes named stages: *resolve* the service to its nodes, *route* (filters and, later,
//! traffic rules), *pick* a node, *attempt* the call on it, and *retry* where that is harmless. The
//! outcome of every attempt is reported once, from one place, to the selector, the retry budget and
//! the metrics.
//!
//! ```no_run
//! use micro::{Client, Json};
//!
//! # async fn example() -> micro::Result<()> {
//! let client = Client::new()?;
//! let reply: Json<String> = client.call("greeter", "Greeter.Hello", Json("Ada".to_owned())).await?;
//! # Ok(())
//! # }
//! ```

mod builder;
mod cached;
mod call;
mod calls;
mod event;
#[cfg(feature = "tonic")]
pub(crate) mod framed;
mod handle;
mod heads;
mod health;
mod layered;
pub mod layers;
mod options;
mod pipeline;
mod pool;
mod publish;
mod reply;
mod seen;
mod send;
mod stream;
mod subscribe;
mod target;
mod terms;
#[cfg(feature = "tonic")]
mod unframed;

pub use builder::ClientBuilder;
pub use cached::CachedReply;
pub use call::{Call, Duplex, Many, One, Open, Reply, Single, Unary};
pub use event::Event;
pub use handle::Client;
pub use health::NodeHealth;
pub use options::CallOptions;
pub(crate) use options::Parent;
pub use publish::Publish;
pub(crate) use publish::content_type;
pub use seen::Seen;
pub use stream::Outgoing;
pub use subscribe::Subscribed;
