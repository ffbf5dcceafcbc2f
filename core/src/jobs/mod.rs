//! Work that a service does by the clock: once in a fleet, or once on each node.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use micro::jobs::{Job, Scope};
//! use micro::{Context, Service};
//!
//! async fn clean(context: Context) -> micro::Result<()> {
//!     println!("{:?}", context.job());
//!     Ok(())
//! }
//!
//! let service = Service::builder("shop")
//!     .cron("0 3 * * *", clean)
//!     .job(Job::every("30s", clean).name("refresh").scope(Scope::Node).timeout(Duration::from_secs(5)));
//! ```
//!
//! A job of the [fleet](Scope::Fleet) needs a broker that keeps messages: by these, the nodes agree who runs it. While one of them lives
//! and reaches the broker, each run is begun once; one whose node dies under it is run again by another. Where the broker orders by
//! key, runs of a job never overlap. What becomes of runs that nobody could begin says [`Missed`].
//!
//! A schedule that is changed holds from the start of the first node that has it, for all nodes.

mod fleet;
mod job;
mod ledger;
mod node;
mod plan;
mod run;
mod schedule;
mod work;

pub use job::{Job, Scope};
pub use plan::Missed;
pub use run::{Outcome, Run, Running};
pub use schedule::Interval;
pub use work::Status;
pub(crate) use work::{Board, Jobs, Place, check};
