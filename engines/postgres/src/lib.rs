//! The store of `micro` in PostgreSQL 13 and later, and in CockroachDB.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! use micro::store::{Change, Place};
//!
//! micro_postgres::provide()?;
//! let store = micro::store::connect("postgres://me:secret@127.0.0.1/shop")?;
//! store.apply(Change::write(Place::default(), "orders/7", "paid").into()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The command and the bindings have the schemes from the start. A process that forks connects in its children anew: what its parent
//! had open is not theirs to use.
#![forbid(unsafe_code)]

mod beat;
mod link;
mod options;
mod plan;
mod pulse;
mod queue;
mod read;
mod said;
mod shared;
mod sql;
mod store;
mod tidy;
mod transact;
mod watch;
mod write;

use std::sync::Arc;

use micro::Result;
use micro::store::Store;

pub use self::store::Postgres;

/// Makes `postgres://`, `postgresql://` and `cockroach://` known to this process, see [`micro::store::provide`].
///
/// # Errors
/// `ALREADY_EXISTS` when one of the schemes is taken.
pub fn provide() -> Result<()> {
    for scheme in ["postgres", "postgresql", "cockroach"] {
        micro::store::provide(scheme, move |rest| {
            Ok(Arc::new(Postgres::new(scheme, rest)?) as Arc<dyn Store>)
        })?;
    }
    Ok(())
}
