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
//!
//! # What a URL may say
//!
//! `postgres://user:password@host:port/database?option=value`; `postgresql` is the same, and `cockroach` has the port 26257, the user
//! `root` and the SQL that CockroachDB speaks. A socket's folder is a host with `%2F` for each `/`.
//!
//! | option | what it is |
//! |---|---|
//! | `tables=shop.micro` | the beginning of the names of the tables, with their schema before it where it needs one; `micro` unless set |
//! | `connections=8` | connections at once, one more for a watch |
//! | `history=65536` | changes after which a deletion need not be known to a watch any more |
//! | `sslmode=verify-full` | or `disable`; a server of this machine is spoken to without TLS unless it is set, and others with |
//! | `ca=`, `cert=`, `key=` | files: the authority of the server's certificate, unless the system knows it, and a certificate of one's own |
//! | `pooler=true` | a pooler is between that lends a connection for a transaction, such as pgbouncer: nothing lasts longer than one |
//! | `layout=go-micro` | the tables are those of go-micro's store for CockroachDB, and only read |
//!
//! # What is promised
//!
//! The tables are made when they are first needed: `micro_records`, `micro_fences` and `micro_state`, whose row has the version of the
//! layout. A program refuses a layout that it does not know.
//!
//! Transactions of a store are made one after the other, by a lock on the row of `micro_state`, so versions are seen in their order.
//! What waits in a process while one is made is written by the next: its rate is that of many writers, and that of a single one is
//! bounded by the server's commits. A process that stands still within its transaction holds others up for two seconds; then the server
//! ends it. What is acknowledged is committed, and as safe as the server keeps what is committed. When an answer is lost, the error
//! says that the changes may have been made or not.
//!
//! What has a time to live ends by the server's clock. PostgreSQL tells watches of changes by `LISTEN`; with `pooler=true`, and from
//! CockroachDB, which has none, a process that watches asks every 20 ms.
#![forbid(unsafe_code)]

mod beat;
mod go_micro;
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

use micro::Result;

pub use self::store::Postgres;

/// Makes `postgres://`, `postgresql://` and `cockroach://` known to this process, see [`micro::store::provide`].
///
/// # Errors
/// `ALREADY_EXISTS` when one of the schemes is taken.
pub fn provide() -> Result<()> {
    for scheme in ["postgres", "postgresql", "cockroach"] {
        micro::store::provide(scheme, move |rest| store::open(scheme, rest))?;
    }
    Ok(())
}
