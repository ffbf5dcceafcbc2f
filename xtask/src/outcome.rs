//! How a task ends.

use std::error::Error;

/// What every task returns; the message of the error is printed for the reader.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;
