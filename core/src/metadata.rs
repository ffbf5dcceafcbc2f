//! Headers of a call: names without case, values that may repeat, bytes under `-bin` names.
//!
//! go-micro's metadata is a map of strings whose keys change case on the way; gRPC's is a list
//! with lower-case names. [`Metadata`] is the latter and reads like the former: every lookup
//! ignores case, so `Micro-Trace-Id` and `micro-trace-id` are one key.

use std::borrow::Cow;
use std::fmt;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};
use base64::{Engine as _, alphabet};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Result};
use crate::forward::names::{is_of_connection, is_secret};
use crate::transport::is_of_hop;

/// Names a caller may not set: HTTP/2 or gRPC gives them a meaning of its own.
const RESERVED: [&str; 14] = [
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

/// Base64 as other stacks write it: padded or not, perhaps with bits left over at the end.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const USUAL: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const OF_URLS: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
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

    /// First value under a name that ends in `-bin`, as bytes; what is no base64 is passed over.
    pub fn get_bin(&self, name: &str) -> Option<Vec<u8>> {
        self.get_all_bin(name).next()
    }

    /// Every value under a name that ends in `-bin`, as bytes, in order. gRPC sends base64, and a header may hold several
    /// values, which are separated by commas. What is no base64 is left out.
    pub fn get_all_bin<'a>(&'a self, name: &str) -> impl Iterator<Item = Vec<u8>> + 'a {
        self.0.get_all(name).iter().flat_map(|value| decoded(value.as_bytes()))
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

/// The values of a header that holds bytes. An empty one is no bytes; empty places in a list are nothing (RFC 9110, 5.6.1).
fn decoded(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    parts(value).filter_map(|part| decode(part).ok())
}

fn decoded_or_logged(name: &str, value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    parts(value).filter_map(move |part| match decode(part) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            // What a stranger sends may come often.
            tracing::debug!(metadata = name, %error, "a value under a -bin name is no base64 and is left out");
            None
        }
    })
}

fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let single = value.trim_ascii().is_empty();
    parts.filter(move |part| single || !part.is_empty())
}

/// Bytes out of base64 of either alphabet.
pub(crate) fn decode(part: &[u8]) -> Result<Vec<u8>, base64::DecodeError> {
    let of_urls = part.iter().any(|byte| matches!(byte, b'-' | b'_'));
    if of_urls { OF_URLS.decode(part) } else { USUAL.decode(part) }
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

/// The headers that a caller may set. Each comes with its name, also the further values of one name.
fn settable(headers: HeaderMap) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let mut under = None;
    headers.into_iter().filter_map(move |(name, value)| {
        // A name comes with the first of its values only.
        under = name.or(under.take());
        Some((under.clone().filter(is_settable)?, value))
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
    fn a_merge_keeps_or_replaces_what_is_there() -> Result<()> {
        let set = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            Metadata::from(headers)
        };
        let before = set(&[("tenant", "blue"), ("tenant", "red"), ("user", "ada")]);
        let other = set(&[("tenant", "green"), ("zone", "a"), ("zone", "b"), ("te", "trailers")]);
        let mut kept = before.clone();
        kept.insert_missing(other.clone())?;
        let zones = [("zone", "a"), ("zone", "b")];
        assert_eq!(
            kept,
            set(&[&[("tenant", "blue"), ("tenant", "red"), ("user", "ada")][..], &zones].concat())
        );
        let mut replaced = before.clone();
        replaced.insert_all(other)?;
        assert_eq!(replaced, set(&[&[("tenant", "green"), ("user", "ada")][..], &zones].concat()));
        replaced.insert_all(set(&[("tenant", ""), ("zone", "")]))?;
        assert_eq!(replaced, set(&[("user", "ada")]));
        assert_eq!(before.get("tenant"), Some("blue"), "what was copied stays");
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
        crate::forward::forward(&full, &mut headers, None, true);
        assert_eq!(headers.keys_len(), MOST_NAMES, "what goes on finds no more room either");
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
    fn bytes_are_read_as_any_stack_writes_them() {
        for (value, wanted) in [
            ("AQ==,Ag", vec![vec![1], vec![2]]),
            ("AQ, Ag ,,", vec![vec![1], vec![2]]),
            ("AR", vec![vec![1]]),
            ("-_8", vec![vec![0xfb, 0xff]]),
            ("+/8=", vec![vec![0xfb, 0xff]]),
            ("", vec![vec![]]),
            ("AQ,!!!", vec![vec![1]]),
            ("raw text", vec![]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-bin", HeaderValue::from_static(value));
            let metadata = Metadata::from(headers);
            assert_eq!(metadata.get_all_bin("X-Bin").collect::<Vec<_>>(), wanted, "{value}");
            assert_eq!(metadata.get_bin("x-bin"), wanted.first().cloned(), "{value}");
            let values: Vec<_> = metadata.values().map(|(_, value)| value.into_owned()).collect();
            assert_eq!(values, wanted, "{value}");
        }
    }

    #[test]
    fn names_that_http2_servers_reset_are_refused() {
        let mut metadata = Metadata::new();
        for name in ["Content-Length", "connection", "te", "grpc-timeout", "Host", "Expect"] {
            assert!(metadata.insert(name, "1").is_err(), "{name}");
        }
    }

    #[test]
    fn secrets_are_not_written_into_logs() -> Result<()> {
        let mut metadata = Metadata::new();
        for name in ["authorization", "cookie", "x-api-key", "proxy-authorization"] {
            metadata.insert(name, "hunter2")?;
        }
        metadata.insert("tenant", "blue")?;
        let shown = format!("{metadata:?}");
        assert!(!shown.contains("hunter2") && shown.contains("blue"), "{shown}");
        Ok(())
    }

    #[test]
    fn the_table_is_sorted_for_binary_search() {
        assert!(RESERVED.is_sorted());
    }
}
