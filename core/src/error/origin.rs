//! Where a call failed, and how far it got.

/// How far a failed attempt got, which decides whether repeating it is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// The request provably never reached a handler.
    Never,
    /// The request may have been executed.
    #[default]
    Maybe,
}

/// Where a call failed: filled in by the client for every error that [`crate::Client`] returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Service the caller asked for.
    pub service: String,
    /// Endpoint the caller asked for, for example `Greeter.Hello`.
    pub endpoint: String,
    /// Id and address of the node of the last attempt; empty when none was chosen.
    pub node: String,
    /// Attempts made; 0 when the call failed before the first.
    pub attempts: u32,
}
