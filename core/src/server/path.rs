//! What was called, where no endpoint is.

use std::sync::Arc;

/// The path of a call that the [fallback](super::ServerBuilder::fallback) answers, such as `/shop.v1.Cart/Add`: an extension of
/// its [`Context`](crate::Context::extension), whose endpoint is called `Cart.Add`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Arc<str>);

impl Path {
    pub(super) fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// The whole path, from the first `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the endpoint at a path: its type and its method.
    pub(super) fn endpoint(path: &str) -> Arc<str> {
        let (prefix, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let kind = prefix.rsplit_once('.').map_or(prefix, |(_, kind)| kind);
        format!("{kind}.{method}").into()
    }
}
