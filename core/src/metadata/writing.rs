//! What may be written into metadata, and how much.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::bin::encode;
use super::map::Metadata;
use crate::error::{Error, Result};
use crate::forward::names::is_of_connection;
use crate::transport::is_of_hop;

/// Names a caller may not set: HTTP/2 or gRPC gives them a meaning of its own.
pub(super) const RESERVED: [&str; 14] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
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
pub(super) const MOST_NAMES: usize = 8192;

impl Metadata {
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

    /// Adds every value of `other`. Names that a caller may not set are left out, and those that belong to the connection
    /// `other` may have come by.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for more names than fit, see [`Metadata::insert`].
    pub fn append_all(&mut self, other: Self) -> Result<()> {
        for (name, value) in settable(other.0) {
            append(&mut self.0, name, value)?;
        }
        Ok(())
    }

    /// Replaces whatever stands under the names of `other` with its values, as go-micro's merge with overwriting. An empty value
    /// deletes. The same names are left out as by [`Metadata::append_all`].
    ///
    /// # Errors
    /// As [`Metadata::append_all`].
    pub fn insert_all(&mut self, other: Self) -> Result<()> {
        for name in other.0.keys() {
            if is_settable(name) {
                self.0.remove(name);
            }
        }
        for (name, value) in settable(other.0).filter(|(_, value)| !value.is_empty()) {
            append(&mut self.0, name, value)?;
        }
        Ok(())
    }

    /// Adds the values of `other` under names that have none yet, as go-micro's merge without overwriting. The same names are
    /// left out as by [`Metadata::append_all`].
    ///
    /// # Errors
    /// As [`Metadata::append_all`].
    pub fn insert_missing(&mut self, mut other: Self) -> Result<()> {
        for name in self.0.keys() {
            other.0.remove(name);
        }
        self.insert_all(other)
    }

    /// Puts `headers` in place of what stands under their names, empty ones too. The names that [`Metadata::append_all`] leaves out
    /// are left out here but for those in `kept`.
    ///
    /// # Errors
    /// As [`Metadata::append_all`].
    #[cfg(feature = "tonic")]
    pub(crate) fn replace_all(&mut self, headers: HeaderMap, kept: &[HeaderName]) -> Result<()> {
        for name in headers.keys() {
            self.0.remove(name);
        }
        let may_stand = |name: &HeaderName| kept.contains(name) || is_settable(name);
        for (name, value) in each(headers).filter(|(name, _)| may_stand(name)) {
            append(&mut self.0, name, value)?;
        }
        Ok(())
    }

    /// Replaces the bytes under `name`, which must end in `-bin`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the name is no header name or does not end in `-bin`.
    pub fn insert_bin(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.insert(for_bytes(name)?, &encode(value))
    }

    /// Adds bytes under `name`, which must end in `-bin`.
    ///
    /// # Errors
    /// As [`Metadata::insert_bin`].
    pub fn append_bin(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.append(for_bytes(name)?, &encode(value))
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

/// The headers that a caller may set.
fn settable(headers: HeaderMap) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    each(headers).filter(|(name, _)| is_settable(name))
}

/// Headers, each with its name, also the further values of one name.
fn each(headers: HeaderMap) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let mut under = None;
    headers.into_iter().filter_map(move |(name, value)| {
        // A name comes with the first of its values only.
        under = name.or(under.take());
        Some((under.clone()?, value))
    })
}

/// False for what HTTP/2 or gRPC gives a meaning, and for what belongs to the connection it came by.
fn is_settable(name: &HeaderName) -> bool {
    !is_reserved(name.as_str()) && !is_of_connection(name.as_str())
}

fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok() || name.starts_with("grpc-") || is_of_hop(name)
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
