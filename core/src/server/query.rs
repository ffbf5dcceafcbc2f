//! What stands behind the `?` of a call that was made by GET.

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::percent_decode;

/// The query of a call that was made by GET, as an extension of its
/// [`Context`](crate::Context::extension).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(Arc<str>);

impl Query {
    pub(super) fn new(query: &str) -> Self {
        Self(query.into())
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
        pairs(&self.0)
    }
}

/// Names and values of a query, in order.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = match value.contains('+') {
            // A form's way to write a space.
            true => percent_decode(value.replace('+', " ").as_bytes()).collect::<Vec<_>>().into(),
            false => percent_decode(value.as_bytes()).into(),
        };
        (key, value)
    })
}
