//! The headers themselves, and how they are read.

use std::borrow::Cow;
use std::fmt;

use http::header::HeaderMap;

use super::bin::{decoded, decoded_or_logged};
use crate::forward::names::is_secret;

/// Headers of a call, in the order they were added.
///
/// ```
/// let mut metadata = micro::Metadata::new();
/// metadata.insert("Tenant", "blue")?;
/// assert_eq!(metadata.get("tenant"), Some("blue"));
/// # Ok::<(), micro::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(pub(super) HeaderMap);

impl Metadata {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// First value under `name`, in any case; `None` when absent or not printable ASCII.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| value.to_str().ok())
    }

    /// Every value under `name`, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// First value under a name that ends in `-bin`, as bytes; what is no base64 is passed over.
    pub fn get_bin(&self, name: &str) -> Option<Vec<u8>> {
        self.get_all_bin(name).next()
    }

    /// Every value under a name that ends in `-bin`, as bytes, in order. gRPC sends base64, and a header may hold several
    /// values, which are separated by commas. What is no base64 is left out.
    pub fn get_all_bin<'a>(&'a self, name: &str) -> impl Iterator<Item = Vec<u8>> + 'a {
        self.0.get_all(name).iter().flat_map(|value| decoded(value.as_bytes()))
    }

    /// Removes every value under `name`.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Name and value pairs; names in lower case. Values that are not text are skipped.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    /// Names, in lower case, and values as their writer had them: bytes under names that end in `-bin`, text under others.
    /// What is neither is left out, which is logged.
    pub fn values(&self) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
        self.0.iter().flat_map(|(name, value)| {
            let name = name.as_str();
            let (bytes, text) = if name.ends_with("-bin") {
                (Some(decoded_or_logged(name, value.as_bytes())), None)
            } else {
                (None, value.to_str().ok().map(|text| Cow::Borrowed(text.as_bytes())))
            };
            let bytes = bytes.into_iter().flatten().map(Cow::Owned);
            bytes.chain(text).map(move |value| (name, value))
        })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.0
    }

    pub(crate) fn into_headers(self) -> HeaderMap {
        self.0
    }
}

impl From<HeaderMap> for Metadata {
    fn from(headers: HeaderMap) -> Self {
        Self(headers)
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value)| (name, if is_secret(name) { "…" } else { value });
        f.debug_map().entries(self.iter().map(shown)).finish()
    }
}
