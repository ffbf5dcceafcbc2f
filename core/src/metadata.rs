//! Headers of a call: names without case, values that may repeat, bytes under `-bin` names.
//!
//! go-micro's metadata is a map of strings whose keys change case on the way; gRPC's is a list
//! with lower-case names. [`Metadata`] is the latter and reads like the former: every lookup
//! ignores case, so `Micro-Trace-Id` and `micro-trace-id` are one key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, STANDARD_PAD_INDIFFERENT};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Result};

/// Names that describe one hop and are never copied from an inbound call to an outgoing one:
/// HTTP/2's connection-specific names, gRPC's own, and those each hop sets anew
/// (go-micro v2 forwards them, and HTTP/2 servers reset the stream for it).
const HOP_BY_HOP: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-connection",
    "remote",
    "te",
    "timeout",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-content-type",
];

/// Names a caller may not set: HTTP/2 or gRPC gives them a meaning of its own.
const RESERVED: [&str; 12] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "timeout",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Names of metadata at most. A header map panics beyond 24 576, and the metadata of a call is joined with what the protocols
/// add, and that of an answer with its trailers.
const MOST_NAMES: usize = 8192;

/// Headers of a call, in the order they were added.
///
/// ```
/// let mut metadata = micro::Metadata::new();
/// metadata.insert("Tenant", "blue")?;
/// assert_eq!(metadata.get("tenant"), Some("blue"));
/// # Ok::<(), micro::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(HeaderMap);

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

    /// First value under a name that ends in `-bin`, decoded from base64 as gRPC sends it.
    pub fn get_bin(&self, name: &str) -> Option<Vec<u8>> {
        STANDARD_PAD_INDIFFERENT.decode(self.0.get(name)?.as_bytes()).ok()
    }

    /// Replaces whatever stands under `name`. An empty `value` deletes, as in go-micro.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the name is not an HTTP header name, is reserved by HTTP/2 or gRPC
    /// (`content-length`, `te`, `grpc-…`), or the value is not printable ASCII. Bytes go under a
    /// `-bin` name with [`Metadata::insert_bin`]. There is room for 8 192 names, far more than peers take.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<()> {
        let (name, parsed) = entry(name, value)?;
        if value.is_empty() {
            self.0.remove(name);
        } else {
            make_room(&self.0, &name)?;
            self.0.insert(name, parsed);
        }
        Ok(())
    }

    /// Adds another value under `name`.
    ///
    /// # Errors
    /// As [`Metadata::insert`].
    pub fn append(&mut self, name: &str, value: &str) -> Result<()> {
        let (name, value) = entry(name, value)?;
        append(&mut self.0, name, value)
    }

    /// Adds every value of `other`. Names that a caller may not set are left out: `other` may come
    /// off the wire, which has them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for more names than fit, see [`Metadata::insert`].
    pub fn append_all(&mut self, other: Self) -> Result<()> {
        let mut under = None;
        for (name, value) in other.0 {
            // A name comes with the first of its values only.
            under = name.or(under);
            if let Some(name) = under.as_ref().filter(|name| !is_reserved(name.as_str())) {
                append(&mut self.0, name.clone(), value)?;
            }
        }
        Ok(())
    }

    /// Replaces the bytes under `name`, which must end in `-bin`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the name is no header name or does not end in `-bin`.
    pub fn insert_bin(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.insert(for_bytes(name)?, &STANDARD_NO_PAD.encode(value))
    }

    /// Adds bytes under `name`, which must end in `-bin`.
    ///
    /// # Errors
    /// As [`Metadata::insert_bin`].
    pub fn append_bin(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.append(for_bytes(name)?, &STANDARD_NO_PAD.encode(value))
    }

    /// Removes every value under `name`.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Name and value pairs; names in lower case. Values that are not text are skipped.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies into `target` what an outgoing call made on behalf of this inbound one carries on:
    /// everything but hop-by-hop names, gRPC's own and names `target` has already.
    pub(crate) fn propagate_into(&self, target: &mut HeaderMap) {
        let mut names = smallvec::SmallVec::<[&HeaderName; 16]>::new();
        for name in self.0.keys() {
            let text = name.as_str();
            if HOP_BY_HOP.binary_search(&text).is_err()
                && !text.starts_with("grpc-")
                && !target.contains_key(name)
            {
                names.push(name);
            }
        }
        for name in names {
            for value in self.0.get_all(name) {
                // What finds no room could not be sent either: peers take far less.
                let _ = target.try_append(name.clone(), value.clone());
            }
        }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.0
    }

    pub(crate) fn into_headers(self) -> HeaderMap {
        self.0
    }
}

/// The name, if bytes may stand under it.
fn for_bytes(name: &str) -> Result<&str> {
    if !name.to_ascii_lowercase().ends_with("-bin") {
        return Err(Error::invalid_argument(format!(
            "metadata `{name}` holds bytes, so its name must end in `-bin`"
        )));
    }
    Ok(name)
}

/// Adds a value, if there is room for its name.
///
/// # Errors
/// `INVALID_ARGUMENT` for more than [`MOST_NAMES`].
pub(crate) fn append(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<()> {
    make_room(headers, &name)?;
    headers.append(name, value);
    Ok(())
}

fn make_room(headers: &HeaderMap, name: &HeaderName) -> Result<()> {
    if headers.keys_len() < MOST_NAMES || headers.contains_key(name) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "metadata of more than {MOST_NAMES} names: peers take 64 KiB of headers, so send this much as a message"
    )))
}

fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok() || name.starts_with("grpc-")
}

fn entry(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        Error::invalid_argument(format!(
            "metadata name {name:?} is not a header name: use letters, digits, `-`, `_` and `.`"
        ))
    })?;
    let text = parsed.as_str();
    if is_reserved(text) {
        return Err(Error::invalid_argument(format!(
            "metadata name `{text}` is reserved by HTTP/2 and gRPC: choose another"
        )));
    }
    // `HeaderValue` alone takes more than gRPC's peers can read.
    match HeaderValue::from_str(value) {
        Ok(value) if value.to_str().is_ok() => Ok((parsed, value)),
        _ => Err(Error::invalid_argument(format!(
            "metadata value of `{text}` is not printable ASCII: send bytes under a `-bin` name"
        ))),
    }
}

impl From<HeaderMap> for Metadata {
    fn from(headers: HeaderMap) -> Self {
        Self(headers)
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |name: &str| name == "authorization" || name == "cookie";
        f.debug_map()
            .entries(
                self.iter().map(|(name, value)| (name, if hidden(name) { "…" } else { value })),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn lookup_ignores_case_and_empty_value_deletes() -> Result<()> {
        let mut metadata = Metadata::new();
        metadata.insert("Micro-Trace-Id", "1")?;
        assert_eq!(metadata.get("micro-TRACE-id"), Some("1"));
        metadata.insert("micro-trace-id", "")?;
        assert!(metadata.is_empty());
        Ok(())
    }

    #[test]
    fn whole_sets_add_up_without_what_a_caller_may_not_set() -> Result<()> {
        let mut metadata = Metadata::new();
        metadata.append("tenant", "blue")?;
        let mut headers = HeaderMap::new();
        for (name, value) in [("tenant", "red"), ("tenant", "green"), ("te", "trailers")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        metadata.append_all(headers.into())?;
        assert_eq!(metadata.get_all("tenant").collect::<Vec<_>>(), ["blue", "red", "green"]);
        assert_eq!(metadata.len(), 3);
        Ok(())
    }

    #[test]
    fn more_names_than_fit_are_refused() {
        let mut metadata = Metadata::new();
        let mut put = |n: usize| metadata.append(&format!("name-{n}"), "1");
        let refused = (0..40_000).find_map(|n| put(n).err().map(|error| (n, error)));
        let (fit, error) = refused.expect("there is a limit");
        assert_eq!((fit, error.code()), (MOST_NAMES, Code::InvalidArgument));
        assert!(error.detail().contains("8192"), "{error}");
        assert_eq!(metadata.insert("another", "1").unwrap_err().code(), Code::InvalidArgument);
        let mut other = Metadata::new();
        other.append("another", "1").expect("room");
        assert_eq!(other.append_all(metadata.clone()).unwrap_err().code(), Code::InvalidArgument);
        // Off the wire, there may be as many as a header map can hold.
        let mut full = HeaderMap::new();
        while full
            .try_append(
                format!("full-{}", full.len()).parse::<HeaderName>().expect("a name"),
                HeaderValue::from_static("1"),
            )
            .is_ok()
        {}
        let mut headers = metadata.into_headers();
        Metadata::from(full).propagate_into(&mut headers);
        assert!(headers.len() > 3 * MOST_NAMES - 1, "{}", headers.len());
    }

    #[test]
    fn bytes_round_trip_under_bin_names_only() -> Result<()> {
        let mut metadata = Metadata::new();
        metadata.insert_bin("trace-bin", &[0, 255, 7])?;
        assert_eq!(metadata.get_bin("Trace-Bin"), Some(vec![0, 255, 7]));
        assert!(metadata.insert_bin("trace", &[0]).is_err());
        metadata.append_bin("trace-bin", &[1])?;
        assert_eq!(metadata.get_all("trace-bin").count(), 2);
        assert!(metadata.append_bin("trace", &[0]).is_err());
        Ok(())
    }

    #[test]
    fn names_that_http2_servers_reset_are_refused_and_never_propagated() -> Result<()> {
        let mut metadata = Metadata::new();
        for name in ["Content-Length", "connection", "te", "grpc-timeout", "Host"] {
            assert!(metadata.insert(name, "1").is_err(), "{name}");
        }
        let mut inbound = HeaderMap::new();
        for name in [
            "content-length",
            "connection",
            "te",
            "host",
            "grpc-encoding",
            "x-content-type",
            "tenant",
        ] {
            inbound.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let mut outgoing = HeaderMap::new();
        Metadata::from(inbound).propagate_into(&mut outgoing);
        assert_eq!(outgoing.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["tenant"]);
        Ok(())
    }

    #[test]
    fn tables_are_sorted_for_binary_search() {
        assert!(HOP_BY_HOP.is_sorted() && RESERVED.is_sorted());
    }
}
