//! Messages by topic: published once, delivered to whoever subscribed.
//!
//! ```
//! use std::sync::Arc;
//!
//! use micro::broker::Memory;
//! use micro::{Context, Json, Service, registry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! let broker = Arc::new(Memory::new());
//! let service = Service::builder("billing")
//!     .registry(Arc::new(registry::Memory::new()))
//!     .broker(broker)
//!     .subscribe("orders", |_: Context, Json(order): Json<u64>| async move {
//!         println!("order {order}");
//!         Ok(())
//!     })
//!     .start()
//!     .await?;
//!
//! service.client().publish("orders", Json(7_u64)).await?;
//! service.stop().await
//! # }
//! ```
//!
//! Subscribers of one *queue* share its messages: each goes to one of them. Without a queue, every subscriber gets every
//! message. What a broker promises beyond that is in its [`Abilities`]; a subscription or a message that asks for more is
//! refused.

mod abilities;
mod cloud_event;
mod connect;
mod consumer;
pub mod contract;
mod dead;
mod delivery;
#[cfg(unix)]
pub mod durable;
pub mod envelope;
mod http;
mod memory;
mod message;
mod rpc;
#[cfg(unix)]
mod stored;
mod subscriber;
mod subscription;
mod supervised;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::abilities::Abilities;
pub use self::cloud_event::CloudEvent;
pub(crate) use self::connect::warm_up;
pub use self::connect::{connect, provide};
pub(crate) use self::consumer::{Consumer, Consumers, MessageErrors};
pub use self::delivery::{Delivered, Deliveries, Delivery, Settle, Verdict};
#[cfg(unix)]
pub use self::durable::Durable;
pub use self::http::Http;
pub use self::memory::Memory;
pub(crate) use self::memory::{in_child, warm_up as warm_up_memory};
pub use self::message::Message;
#[cfg(unix)]
use self::message::check_topic;
pub use self::rpc::{Rpc, endpoints};
pub use self::subscriber::{Incoming, MessageHandler, Subscriber};
pub use self::subscription::{Start, Subscription};
pub(crate) use self::supervised::Supervised;
use crate::error::Result;
use crate::registry::Registry;

/// The broker unless another is named.
pub(crate) const DEFAULT: &str = "http://";

/// Takes messages and delivers them.
#[async_trait]
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// What nodes say of themselves by their label `broker`, for example `memory`.
    fn name(&self) -> &str;

    /// What it can do beyond taking messages and delivering them.
    fn abilities(&self) -> Abilities;

    /// Told of the registry of each service and client that it belongs to, before anything else: a broker whose subscribers are
    /// found in one uses the first. Returns at once.
    fn meet(&self, _registry: &Arc<dyn Registry>) {}

    /// Publishes a message; once this returns, it is as safe as the broker makes messages.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a message that asks for what the broker cannot do, `UNAVAILABLE` when it cannot be reached,
    /// `RESOURCE_EXHAUSTED` when it is full.
    async fn publish(&self, message: Message) -> Result<()>;

    /// Subscribes, until what is returned is dropped.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a subscription that asks for what the broker cannot do, `UNAVAILABLE` when it cannot be reached.
    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>>;
}
