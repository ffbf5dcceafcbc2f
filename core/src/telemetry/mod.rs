//! What happened: the trace a call belongs to and the numbers of every caller→callee edge.
//!
//! Recorded inside the core, so that every language and every middleware stack counts the same
//! way. Exporters read [`Metrics::snapshot`]; nothing on the path of a call waits for them.

mod clipped;
mod histogram;
mod metrics;
mod queues;
mod trace;

pub use histogram::{Histogram, Quantiles};
pub(crate) use metrics::Measured;
pub use metrics::{Edge, EdgeStats, Metrics};
pub(crate) use queues::{Handling, Outcome};
pub use queues::{QueueName, QueueStats};
pub use trace::Trace;
pub(crate) use trace::{SPAN_ID, TRACE_ID};
