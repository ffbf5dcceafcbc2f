//! Who is calling. Providers, tokens and rules fill and read the [`Account`] of a call.

use crate::registry::Labels;

/// An identity that was proven, with go-micro's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Unique id within the issuer.
    pub id: String,
    /// What kind of account: `user`, `service`, ….
    pub kind: String,
    /// Who vouches for it.
    pub issuer: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// Anything else that was said of it.
    pub metadata: Labels,
}
