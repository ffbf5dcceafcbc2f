//! What keeps one failure from becoming many: when to try again, how often, and at what cost.

mod backoff;
mod budget;
mod retry;

pub use backoff::Backoff;
pub(crate) use budget::Budget;
pub use retry::{Failure, Retry};
