//! Messages that are published with the caller's own SQL transaction, or not at all.
//!
//! A service that writes a row and publishes a message may die between the two. Here the message is a row as well, in a table beside
//! the caller's, written by the caller's transaction: it is there when that is committed, and never was when it is rolled back. A
//! [`Relay`] publishes what is there, in order, and removes it: at least once, and once where the broker knows messages by their
//! ids, as `durable://` does for its `dedup` window.
//!
//! ```no_run
//! # #[cfg(feature = "sqlite")]
//! # async fn example(broker: std::sync::Arc<dyn micro::broker::Broker>) -> Result<(), Box<dyn std::error::Error>> {
//! use micro::broker::Message;
//! use micro_outbox::Relay;
//! use micro_outbox::sqlite::Outbox;
//!
//! let outbox = Outbox::new("outbox")?;
//! let mut database = rusqlite::Connection::open("shop.db")?;
//! outbox.migrate(&mut database)?;
//! let relay = Relay::sqlite("shop.db", outbox.clone(), broker);
//!
//! let transaction = database.transaction()?;
//! transaction.execute("INSERT INTO orders (id) VALUES (7)", [])?;
//! outbox.publish(&transaction, &Message::new("orders", "7"))?;
//! transaction.commit()?;
//! # relay.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! What is promised of the order: rows are published in the order of their ids. Of two transactions one of which began after the other
//! was committed, that is their order; of two that ran side by side, it is either. After a failure, messages of one key keep their
//! order, and those of other keys and without one go on. A message that its broker refuses for what it is becomes a row of the
//! table `…_dead`, with the reason.

#[cfg(feature = "postgres")]
pub mod postgres;
mod relay;
mod row;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod table;

pub use relay::{Relay, Status};
