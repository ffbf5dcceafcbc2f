//! Settings as data: what a service, an endpoint, a client or a call is told, read from one JSON
//! document. Other languages hand their options over this way, and files can hold them.
//!
//! ```
//! use micro::settings::ServiceSettings;
//! use micro::{Context, Json};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! let settings = ServiceSettings::from_json(
//!     r#"{
//!         "version": "1.2",
//!         "registry": "memory://shop",
//!         "network": "memory://shop",
//!         "grace": "30s",
//!         "limiter": { "patience": "20ms" },
//!         "client": { "timeout": "2s", "strategy": "round_robin" }
//!     }"#,
//! )?;
//! let service = settings
//!     .builder("greeter")?
//!     .endpoint("Greeter.Hello", |_: Context, Json(name): Json<String>| async move {
//!         Ok(Json(format!("Hello, {name}!")))
//!     })
//!     .start()
//!     .await?;
//! let Json(reply): Json<String> =
//!     service.client().call("greeter", "Greeter.Hello", Json("Ada".to_owned())).await?;
//! assert_eq!(reply, "Hello, Ada!");
//!
//! let error = ServiceSettings::from_json(r#"{ "adress": ":8080" }"#).unwrap_err();
//! assert_eq!(error.detail(), "service settings: unknown field \"adress\": did you mean `address`?");
//! service.stop().await
//! # }
//! ```
//!
//! | document | keys | becomes |
//! |---|---|---|
//! | [`ServiceSettings`] | those of a service, its server and its client | a [`ServiceBuilder`](crate::service::ServiceBuilder) |
//! | [`EndpointSettings`] | what callers may know of an endpoint | an [`Endpoint`](crate::server::Endpoint) |
//! | [`ClientSettings`] | those of a client, and defaults of its calls | a [`ClientBuilder`](crate::client::ClientBuilder) |
//! | [`JobSettings`] | when a job runs, and where | a [`Job`](crate::jobs::Job) |
//! | [`SubscriberSettings`] | what a subscriber asks of its broker | a [`Subscriber`](crate::broker::Subscriber) |
//! | [`PublishSettings`] | the terms of a message | `settings` of a [`Publish`](crate::client::Publish) |
//! | [`CallSettings`] | the terms of a call | `settings` of a [`Call`](crate::client::Call), a stream or a client |
//!
//! The same holds in all of them:
//!
//! * Every field may be left out, or be `null`; then it stays as the builder has it. An empty text is
//!   a document without fields. Where `null` says more than that, the field's line does.
//! * A [`duration()`] is `"250ms"`, `"1.5s"`, `"1m"`, `"2h"` or a whole number of milliseconds.
//! * A mistake is `INVALID_ARGUMENT`, and says in which document, at which field, and what would do
//!   instead. Unknown fields are mistakes, and so are documents of more than 1 MiB.
//! * With serde's [`Deserialize`](serde::Deserialize) they are read out of other formats too.

mod call;
mod client;
mod document;
mod duration;
mod endpoint;
mod explain;
mod flags;
mod foreign;
mod gathered;
mod given;
mod jobs;
mod messages;
mod operator;
mod path;
pub(crate) mod range;
mod service;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod url;
mod value;

pub use call::CallSettings;
pub use client::ClientSettings;
pub use duration::duration;
pub(crate) use duration::written;
pub use endpoint::EndpointSettings;
pub(crate) use explain::HIDDEN;
pub use explain::{Explained, Explanation};
pub use given::Source;
pub use jobs::JobSettings;
pub use messages::{PublishSettings, SubscriberSettings};
pub(crate) use operator::Operator;
pub use service::ServiceSettings;
pub use table::{Setting, all};
pub(crate) use url::UrlSetting;
#[doc(hidden)]
pub use value::{Fields, Value};
