//! The store of `micro` in a file of SQLite, for the processes of one machine.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! use micro::store::{Change, Place};
//!
//! micro_sqlite::provide()?;
//! let store = micro::store::connect("sqlite:///var/lib/shop/records.db")?;
//! store.apply(Change::write(Place::default(), "orders/7", "paid").into()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The command and the bindings have the scheme from the start.
//!
//! Several processes may have the file open. One of them writes at a time, and the others try again: SQLite has no queue, so none is
//! promised its turn, and a change fails with `UNAVAILABLE` when it had none for the time that `busy=` says. Changes of one process that
//! wait at the same time are written together. SQLite tells no process of what another wrote, so a watch looks for it every 20 ms.
//!
//! What has a time to live ends by the clock of the machine. The file has to be on a disk of this machine, not on a network's. SQLite
//! does not survive a fork: a child of a process that has the file open is refused it.
#![forbid(unsafe_code)]

mod beat;
mod change;
mod layout;
mod options;
mod pulse;
mod query;
mod said;
mod shared;
mod store;
mod thread;
mod watch;

use std::sync::Arc;

use micro::Result;
use micro::store::Store;

pub use self::store::Sqlite;

/// Makes `sqlite://` known to this process, see [`micro::store::provide`].
///
/// # Errors
/// `ALREADY_EXISTS` when the scheme is taken.
pub fn provide() -> Result<()> {
    micro::store::provide("sqlite", |rest| Ok(Arc::new(Sqlite::new(rest)?) as Arc<dyn Store>))?;
    Ok(())
}
