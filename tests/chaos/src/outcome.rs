//! How a run ends.

/// What may go wrong here is told to the reader and ends the run.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
