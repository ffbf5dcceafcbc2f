//! What is done to a fleet, and what its callers are promised.
//!
//! | scenario | what goes wrong |
//! |---|---|
//! | [`rolling`] | every node is restarted in turn, again and again |
//! | [`overload`] | five times more calls than the pool of a handler, or the processor, can answer |
//! | [`slow`] | one node of five is slow |
//! | [`mayhem`] | kills, pauses, slow links and restarts, all together |
//! | [`messages`] | publishers, consumers and the owner of a durable broker are killed and stopped |

mod client;
mod mayhem;
mod messages;
mod name;
mod overload;
mod plan;
mod rolling;
mod slow;

pub(crate) use name::Name;
pub(crate) use plan::Plan;

use crate::Outcome;
use crate::report::Scenario;

/// Runs one scenario.
pub(crate) async fn run(name: Name, plan: &Plan) -> Outcome<Scenario> {
    match name {
        Name::Rolling => rolling::run(plan).await,
        Name::Overload => overload::run(name, plan).await,
        Name::Processor => overload::run(name, plan).await,
        Name::Slow => slow::run(plan).await,
        Name::Mayhem => mayhem::run(plan).await,
        Name::Messages => messages::run(plan).await,
    }
}
