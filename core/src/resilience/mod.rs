//! What keeps one failure from becoming many: when to try again, how often, and at what cost;
//! when to refuse.

mod backoff;
mod budget;
mod limiter;
mod repeats;
mod retry;

pub use backoff::Backoff;
pub(crate) use budget::Budget;
pub(crate) use limiter::{Gate, Pass, StandingQueue};
pub use limiter::{Limiter, Load};
pub(crate) use repeats::{Lost, Next, Repeats, Terms};
pub use retry::{FailedAttempt, Failure, Retry};
