//! What a store promises beyond what all do.

/// What a store can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Abilities {
    /// Records survive the end of every process.
    pub persists: bool,
    /// A [batch](super::Batch) may have more than one change. Without, each is made by itself, and a batch of more is refused.
    pub transactions: bool,
    /// Changes are told to those that [watch](super::Store::watch).
    pub watches: bool,
    /// A watch may begin with the changes since a version.
    pub watches_from: bool,
}
