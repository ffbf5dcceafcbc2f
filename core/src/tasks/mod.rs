//! Messages whose answer can be asked for later, by their id, from any process.
//!
//! ```
//! # async fn example(client: micro::Client) -> micro::Result<()> {
//! use std::time::Duration;
//!
//! use micro::Json;
//!
//! let task = client.task("resize", Json("cat.png".to_owned())).await?;
//! let id = task.id().to_owned();
//! // Whoever has the id may ask, in another process as well.
//! let Json(small): Json<String> = client.task_by_id(&id)?.result(Duration::from_secs(60)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The work is done by a subscriber, [`Subscriber::task`](crate::broker::Subscriber::task), and what comes of it is kept for a day in topics
//! beside its own. That needs a broker that keeps messages, such as `durable://`.

mod record;
mod task;
mod worker;

pub use record::State;
pub use task::Task;
pub(crate) use worker::{check, undertaker};
