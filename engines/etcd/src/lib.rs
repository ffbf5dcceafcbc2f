//! etcd 3.4 and later, for records that a fleet shares, and the locks that are made of them.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! use micro::store::{Change, Place};
//!
//! micro_etcd::provide()?;
//! let store = micro::store::connect("etcd://10.0.0.1,10.0.0.2,10.0.0.3")?;
//! store.apply(Change::write(Place::default(), "colour", "blue").into()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A URL is `etcd://user:password@host:port,host:port`, or `etcds://` for TLS; user, password and ports may be left out.
//!
//! | option | default | |
//! |---|---|---|
//! | `prefix` | `/micro/store` | what stands before every key |
//! | `ca` | the system's | the file of an authority, for `etcds://` |
//! | `certificate`, `private_key` | none | files of what is shown to servers that ask for it, for `etcds://` |
//! | `server_name` | the host's | the name in the certificates of the servers, for `etcds://` |
//!
//! A user needs a role with rights on all keys that begin with the prefix and a `/`.
//!
//! The command and the bindings have the schemes from the start. etcd is spoken to by the framework's own client: its messages
//! are gRPC, and what is known of connections, deadlines, TLS and forks there holds here.
#![forbid(unsafe_code)]

mod lease;
mod link;
mod options;
mod proto;
mod store;
mod watch;

use std::sync::Arc;

use micro::Result;
use micro::store::Store;

pub use self::store::Etcd;

/// Makes `etcd://` and `etcds://`, which is the same by TLS, known to this process, see [`micro::store::provide`].
///
/// # Errors
/// `ALREADY_EXISTS` when one of the schemes is taken; those that are not are known nevertheless.
pub fn provide() -> Result<()> {
    let mut provided = Ok(());
    for scheme in ["etcd", "etcds"] {
        let store = micro::store::provide(scheme, move |rest| {
            Ok(Arc::new(Etcd::new(scheme, rest)?) as Arc<dyn Store>)
        });
        provided = provided.and(store.map(drop));
    }
    provided
}
