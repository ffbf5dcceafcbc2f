//! How a call ends on the wire: gRPC's status with go-micro's error inside.
//!
//! go-micro v2 expects its error as JSON in `grpc-message` and as the *only* detail of
//! `grpc-status-details-bin`; a detail of any other type kills a Go caller's process, and a bare
//! status becomes a retryable 500 there (wire reference 1.6). Other gRPC clients expect the plain
//! text, the details that the handler attached, and go-micro's only if it says more than the status
//! does. [`super::caller_is_micro`] tells them apart by the headers every go-micro client sends. What a
//! handler attached reaches this framework's clients in a trailer that go-micro does not look at.

mod json;
mod names;
mod size;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};
use prost::Message as _;

use self::names::{GRPC_DETAILS, GRPC_MESSAGE, MICRO_DETAILS};
pub(crate) use self::names::{GRPC_STATUS, is_status};
use self::size::Cut;
use crate::error::{Code, Detail, Error};
use crate::metadata::decode;
use crate::proto::errors::Error as MicroError;

const ERROR_TYPE: &str = "type.googleapis.com/errors.Error";

/// gRPC escapes everything outside printable ASCII, and the escape itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(0x7f);

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

impl From<&Detail> for Any {
    fn from(detail: &Detail) -> Self {
        Self { type_url: detail.type_url.clone(), value: detail.value.clone() }
    }
}

impl From<Any> for Detail {
    fn from(any: Any) -> Self {
        Self { type_url: any.type_url, value: any.value }
    }
}

/// Writes the status of a finished call; `None` is success.
///
/// A failure fits into what every peer reads of a block of headers, together with what stands in `headers` already: see
/// [`size`].
pub(crate) fn write_status(headers: &mut HeaderMap, error: Option<&Error>, micro: bool) {
    let Some(error) = error else {
        headers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
        return;
    };
    size::make_room(headers);
    let room = size::room_in(headers);
    for cut in size::CUTS {
        let status = written(error, micro, cut);
        if size::of(&status) <= room {
            headers.extend(status);
            return;
        }
    }
    headers.insert(GRPC_STATUS, HeaderValue::from(error.code().grpc()));
}

/// The headers of a status whose parts are cut.
fn written(error: &Error, micro: bool, cut: Cut) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(GRPC_STATUS, HeaderValue::from(error.code().grpc()));
    let id = cut.id(error.id()).into_owned();
    let shown = Error::from_http(id, cut.text(error.detail()).into_owned(), error.http_code());
    let text = if micro { Cow::Owned(shown.to_json()) } else { Cow::Borrowed(shown.detail()) };
    let escaped: Cow<'_, str> = percent_encode(text.as_bytes(), ESCAPED).into();
    if let Ok(value) = HeaderValue::from_str(&escaped) {
        headers.insert(GRPC_MESSAGE, value);
    }
    let attached = error.attached().iter().filter(|_| cut.attached).map(Any::from);
    let mut details = Vec::new();
    if micro || says_more(error) {
        details.push(Any::from(&micro_detail(error, cut)));
    }
    if !micro {
        details.extend(attached);
    } else if !error.attached().is_empty() && cut.attached {
        let details = attached.collect();
        let status = RpcStatus { code: error.code().grpc(), message: String::new(), details };
        write_details(&mut headers, MICRO_DETAILS, &status);
    }
    if let [foreign] = &details[..]
        && foreign.type_url.is_empty()
    {
        put_details(&mut headers, GRPC_DETAILS, &foreign.value);
    } else if !details.is_empty() {
        let status = RpcStatus { code: error.code().grpc(), message: text.into_owned(), details };
        write_details(&mut headers, GRPC_DETAILS, &status);
    }
    headers
}

fn write_details(headers: &mut HeaderMap, name: HeaderName, status: &RpcStatus) {
    put_details(headers, name, &status.encode_to_vec());
}

fn put_details(headers: &mut HeaderMap, name: HeaderName, details: &[u8]) {
    if let Ok(value) = HeaderValue::try_from(STANDARD_NO_PAD.encode(details)) {
        headers.insert(name, value);
    }
}

/// Details in a form of their own, which is no `google.rpc.Status`: as one that has no type, they go out as they came.
#[cfg(feature = "tonic")]
pub(crate) fn foreign_details(headers: &HeaderMap) -> Option<Detail> {
    let bytes = decode(headers.get(GRPC_DETAILS)?.as_bytes()).ok()?;
    match RpcStatus::decode(&bytes[..]) {
        Ok(_) => None,
        Err(_) => Some(Detail { type_url: String::new(), value: bytes.into() }),
    }
}

/// True when go-micro's error tells more than the code and the text. That the server itself failed
/// the call is no more.
fn says_more(error: &Error) -> bool {
    !matches!(error.id(), "" | "go.micro.server") || error.http_code() != error.code().http()
}

/// go-micro's error as a detail.
fn micro_detail(error: &Error, cut: Cut) -> Detail {
    let plain = Error::from_http("", "", error.http_code());
    let value = MicroError {
        id: cut.id(error.id()).into_owned(),
        code: error.http_code(),
        detail: cut.text(error.detail()).into_owned(),
        status: cut
            .id(if error.status().is_empty() { plain.status() } else { error.status() })
            .into_owned(),
    };
    Detail { type_url: ERROR_TYPE.to_owned(), value: value.encode_to_vec().into() }
}

/// What a caller of any protocol but go-micro's is told beyond code and text.
pub(crate) fn details(error: &Error) -> impl Iterator<Item = Detail> {
    let own = says_more(error).then(|| micro_detail(error, size::CUTS[0]));
    own.into_iter().chain(error.attached().iter().cloned())
}

/// How the call ended, by its trailers: the error in any of the three forms Go sends (the detail,
/// JSON in the text as go-micro writes it, plain text), `None` for success, and `UNKNOWN` when there is no status at all.
pub(crate) fn read_status(headers: &HeaderMap) -> Option<Error> {
    let Some(status) = headers.get(GRPC_STATUS) else {
        return Some(Error::new(Code::Unknown, "the peer ended the call without a grpc-status"));
    };
    let number = status.to_str().ok().and_then(|text| text.parse::<i32>().ok());
    if number == Some(0) {
        return None;
    }
    let known = number.and_then(Code::from_grpc);
    let code = known.unwrap_or(Code::Unknown);
    let text = headers
        .get(GRPC_MESSAGE)
        .map(|value| percent_decode(value.as_bytes()).decode_utf8_lossy().into_owned())
        .unwrap_or_default();
    let mut details = read_details(headers, GRPC_DETAILS);
    details.extend(read_details(headers, MICRO_DETAILS));
    let told = match details.iter().position(|detail| detail.type_url == ERROR_TYPE) {
        Some(at) => MicroError::decode(details.remove(at).value)
            .ok()
            .map(|told| Error::from_http(told.id, told.detail, told.code).with_status(told.status)),
        None => None,
    };
    let error = match told.or_else(|| json::told_in(&text, code)) {
        Some(error) => remote(error, code),
        None if text.is_empty() && known.is_none() => {
            let none = "which is none";
            Error::new(code, format!("the peer ended the call with grpc-status {status:?}, {none}"))
                .told_as_status()
        }
        None => Error::new(code, text).told_as_status(),
    };
    Some(details.into_iter().fold(error, |error, detail| error.with_attached(detail.into())))
}

fn read_details(headers: &HeaderMap, name: HeaderName) -> Vec<Any> {
    let read = || {
        let bytes = decode(headers.get(name)?.as_bytes()).ok()?;
        Some(RpcStatus::decode(Bytes::from(bytes)).ok()?.details)
    };
    read().unwrap_or_default()
}

/// gRPC's number says more than go-micro's where that is outside its table. `UNKNOWN` says less:
/// a Go handler that relays an error's text sends it with a number that is more telling, unless
/// that is 500, which tells no more.
fn remote(error: Error, code: Code) -> Error {
    let told = error.code();
    let code = if code == Code::Unknown && told != Code::Internal { told } else { code };
    error.with_code(code).told_as_micro()
}

#[cfg(test)]
mod tests;
