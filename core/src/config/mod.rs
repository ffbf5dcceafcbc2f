//! Configuration of a program: values from files, variables, flags, stores and servers, merged, each with its origin, and followed while it runs.
//!
//! ```no_run
//! use micro::config::{Config, Env};
//!
//! #[derive(serde::Deserialize)]
//! struct Database {
//!     url: String,
//!     pool: usize,
//! }
//!
//! # async fn example() -> micro::Result<()> {
//! let config = Config::builder()
//!     .source("file:///etc/shop.json")
//!     .optional("file://local.json")
//!     .source(Env::prefix("SHOP"))
//!     .load()
//!     .await?;
//! let port = config.get("port").int().unwrap_or(8080);
//! let database = config.live::<Database>("db")?;
//! println!("{} of {port}: {}", database.get().url, config.why("db.url"));
//! # Ok(()) }
//! ```
//!
//! # How sources become one
//!
//! Later sources come over earlier ones. Maps are merged, key by key; anything else is replaced, also by `null`, and whether it is of the same type
//! or not. What the program [sets](Config::set) and [deletes](Config::del) comes over all of them.
//!
//! Then `${NAME}` in a text is the variable of that name in the environment, and `${NAME:-default}` the default where it is unset or empty;
//! `$${` is a `${` that stays. A variable may name others. As this is done value by value, no variable can break a document.
//!
//! # How it changes
//!
//! Sources are followed. A change is merged, [checked](ConfigBuilder::check) and read into every [`Live`] before any of it is in use, and
//! then all of it is, at once. One that is wrong changes nothing. A source that fails keeps what it said last, and is tried again. Both are
//! [events](Config::events), warnings of `tracing`, and in the [`Status`].
//!
//! # Sources
//!
//! | source | URL |
//! |---|---|
//! | [`Memory`] | |
//! | [`Flags`] | |
//! | [`Env`] | `env://SHOP` |
//! | [`File`] | `file:///etc/shop.yaml`, `file:///etc/shop.d` |
//! | [`Http`] | `https://config.example/shop.yaml` |
//! | [`Stored`] | `store://memory://shop?key=shop.yaml` |
//!
//! Formats other than JSON are features of this crate, see [`Format`]. A program adds sources by [`provide`], and tests them by the [contract].
//!
//! The framework's own settings are another thing, see [`settings`](crate::settings).

mod builder;
mod check;
mod connect;
pub mod contract;
mod decode;
mod document;
pub mod duration;
mod expand;
mod follow;
mod format;
mod handle;
mod layers;
mod live;
mod node;
mod origin;
mod path;
mod secret;
mod snapshot;
mod source;
mod status;
#[cfg(test)]
mod tests;
mod value;

pub use builder::{ConfigBuilder, IntoSource};
pub(crate) use connect::warm_up;
pub use connect::{connect, provide};
pub use document::Document;
pub use format::{Format, MAX_BYTES};
pub use handle::{Config, Events, Watch};
pub use live::Live;
pub use origin::Origin;
pub use path::Path;
pub use secret::{Cipher, Secret};
#[cfg(feature = "config-secrets")]
pub use secret::{KeyPair, SecretBox};
pub use snapshot::{Said, Why};
pub use source::{Changes, Env, File, Flags, Http, Memory, Source, Stored};
pub use status::{Event, SourceState, SourceStatus, Status};
pub use value::Value;
