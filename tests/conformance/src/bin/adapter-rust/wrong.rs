//! Promises that an adapter breaks when asked to.

use clap::ValueEnum;

/// What a wrong adapter does.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wrong {
    /// The handler of `Echo` loses the last byte.
    Echo,
    /// Failed calls end twice.
    End,
}
