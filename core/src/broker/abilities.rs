//! What a broker promises.

/// What a broker can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Abilities {
    /// A message that was not acknowledged is delivered again, also when its consumer has died: at least once. Without, at most
    /// once.
    pub redelivers: bool,
    /// Messages survive the end of every process.
    pub persists: bool,
    /// A subscription may start with older messages.
    pub replays: bool,
    /// A message may be held back for a time.
    pub delays: bool,
    /// Messages of one key are delivered one after the other.
    pub orders_by_key: bool,
    /// A message may be of no use after a time.
    pub expires: bool,
    /// A message that is published again with the same id, within a time, is delivered once.
    pub deduplicates: bool,
    /// Messages of a higher priority are delivered first.
    pub prioritizes: bool,
}
