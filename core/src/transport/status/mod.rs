//! How a call ends on the wire: gRPC's status with go-micro's error inside.
//!
//! go-micro v2 expects its error as JSON in `grpc-message` and as the *only* detail of
//! `grpc-status-details-bin`; a detail of any other type kills a Go caller's process, and a bare
//! status becomes a retryable 500 there (wire reference 1.6). Other gRPC clients expect the plain
//! text, the details that the handler attached, and go-micro's only if it says more than the status
//! does. [`caller_is_micro`] tells them apart by the headers every go-micro client sends. What a
//! handler attached reaches this framework's clients in a trailer that go-micro does not look at.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, STANDARD_PAD_INDIFFERENT};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};
use prost::Message as _;

use crate::error::{Code, Detail, Error};
use crate::proto::errors::Error as MicroError;

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// A whole `google.rpc.Status`, for the details that go-micro must not see.
const MICRO_DETAILS: HeaderName = HeaderName::from_static("micro-status-details-bin");
const X_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-content-type");
pub(crate) const FROM_SERVICE: HeaderName = HeaderName::from_static("micro-from-service");
const ERROR_TYPE: &str = "type.googleapis.com/errors.Error";

/// gRPC escapes everything outside printable ASCII, and the escape itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(0x7f);
/// Longest text sent in a header; a longer one is cut, so that it cannot exceed the peer's limit
/// on headers and take the status with it.
const MAX_TEXT: usize = 2048;
/// Longest details sent, for the same reason; longer ones are left out.
const MAX_DETAILS: usize = 8 * 1024;

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

/// True when the caller parses errors as go-micro does.
pub(crate) fn caller_is_micro(headers: &HeaderMap) -> bool {
    headers.contains_key(X_CONTENT_TYPE) || headers.contains_key(FROM_SERVICE)
}

/// True for the names of the headers that [`write_status`] writes.
pub(crate) fn is_status(name: &HeaderName) -> bool {
    [GRPC_STATUS, GRPC_MESSAGE, GRPC_DETAILS, MICRO_DETAILS].contains(name)
}

/// Writes the status of a finished call; `None` is success.
pub(crate) fn write_status(headers: &mut HeaderMap, error: Option<&Error>, micro: bool) {
    let Some(error) = error else {
        headers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
        return;
    };
    headers.insert(GRPC_STATUS, HeaderValue::from(error.code().grpc()));
    let detail = clip(error.detail());
    let shown = Error::from_http(error.id().to_owned(), detail.into_owned(), error.http_code());
    let text = if micro { Cow::Owned(shown.to_json()) } else { Cow::Borrowed(shown.detail()) };
    let escaped: Cow<'_, str> = percent_encode(text.as_bytes(), ESCAPED).into();
    if let Ok(value) = HeaderValue::from_str(&escaped) {
        headers.insert(GRPC_MESSAGE, value);
    }
    let attached = error.attached().iter().map(Any::from);
    let mut details = Vec::new();
    if micro || says_more(error) {
        details.push(Any::from(&micro_detail(error)));
    }
    if !micro {
        details.extend(attached);
    } else if !error.attached().is_empty() {
        let details = attached.collect();
        let status = RpcStatus { code: error.code().grpc(), message: String::new(), details };
        write_details(headers, MICRO_DETAILS, &status);
    }
    if !details.is_empty() {
        let status = RpcStatus { code: error.code().grpc(), message: text.into_owned(), details };
        write_details(headers, GRPC_DETAILS, &status);
    }
}

fn write_details(headers: &mut HeaderMap, name: HeaderName, status: &RpcStatus) {
    let encoded = STANDARD_NO_PAD.encode(status.encode_to_vec());
    // As with the text: what no peer takes must not take the status with it.
    if encoded.len() > MAX_DETAILS {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(encoded) {
        headers.insert(name, value);
    }
}

/// True when go-micro's error tells more than the code and the text. That the server itself failed
/// the call is no more.
fn says_more(error: &Error) -> bool {
    !matches!(error.id(), "" | "go.micro.server") || error.http_code() != error.code().http()
}

/// go-micro's error as a detail.
fn micro_detail(error: &Error) -> Detail {
    let plain = Error::from_http("", "", error.http_code());
    let value = MicroError {
        id: error.id().to_owned(),
        code: error.http_code(),
        detail: clip(error.detail()).into_owned(),
        status: if error.status().is_empty() { plain.status() } else { error.status() }.to_owned(),
    };
    Detail { type_url: ERROR_TYPE.to_owned(), value: value.encode_to_vec().into() }
}

/// What a caller of any protocol but go-micro's is told beyond code and text.
pub(crate) fn details(error: &Error) -> impl Iterator<Item = Detail> {
    let own = says_more(error).then(|| micro_detail(error));
    own.into_iter().chain(error.attached().iter().cloned())
}

fn clip(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}

/// How the call ended, by its trailers: the error in any of the three forms Go sends (the detail,
/// JSON in the text, plain text), `None` for success, and `UNKNOWN` when there is no status at all.
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
    let parsed = || Some(Error::parse(&text)).filter(|error| error.http_code() > 0);
    let error = match told.or_else(parsed) {
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
        let bytes = STANDARD_PAD_INDIFFERENT.decode(headers.get(name)?.as_bytes()).ok()?;
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
mod tests {
    use super::*;

    /// Captured from go-micro v2: `errors.NotFound("my.id", "nope w")`.
    const DETAILS: &str = "CAUSQHsiaWQiOiJteS5pZCIsImNvZGUiOjQwNCwiZGV0YWlsIjoibm9wZSB3Iiwic3RhdHVzIjoiTm90IEZvdW5kIn0aQQogdHlwZS5nb29nbGVhcGlzLmNvbS9lcnJvcnMuRXJyb3ISHQoFbXkuaWQQlAMaBm5vcGUgdyIJTm90IEZvdW5k";
    const MESSAGE: &str = r#"{"id":"my.id","code":404,"detail":"nope w","status":"Not Found"}"#;

    fn trailers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).expect("value"))
            })
            .collect()
    }

    #[test]
    fn a_micro_error_is_written_byte_for_byte_as_go_does() {
        let mut headers = HeaderMap::new();
        let error = Error::from_http("my.id", "nope w", 404);
        write_status(&mut headers, Some(&error), true);
        assert_eq!(
            headers,
            trailers(&[
                ("grpc-status", "5"),
                ("grpc-message", MESSAGE),
                ("grpc-status-details-bin", DETAILS),
            ])
        );
    }

    #[test]
    fn the_three_forms_of_a_go_error_are_read() {
        for headers in [
            trailers(&[("grpc-status", "5"), ("grpc-status-details-bin", DETAILS)]),
            trailers(&[("grpc-status", "5"), ("grpc-message", MESSAGE)]),
        ] {
            let error = read_status(&headers).expect("an error");
            assert_eq!(
                (error.code(), error.id(), error.http_code()),
                (Code::NotFound, "my.id", 404)
            );
            assert_eq!((error.detail(), error.status()), ("nope w", "Not Found"));
        }
        let plain = trailers(&[("grpc-status", "14"), ("grpc-message", "no%20such 100%25 thing")]);
        let error = read_status(&plain).expect("an error");
        assert_eq!((error.code(), error.detail()), (Code::Unavailable, "no such 100% thing"));
        assert!(error.is_remote());
    }

    #[test]
    fn numbers_outside_gos_table_keep_their_own_code() {
        let mut headers = HeaderMap::new();
        write_status(&mut headers, Some(&Error::resource_exhausted("full").with_id("a")), true);
        let error = read_status(&headers).expect("an error");
        assert_eq!((error.code(), error.http_code()), (Code::ResourceExhausted, 429));
    }

    #[test]
    fn plain_grpc_callers_get_plain_text_of_any_characters() {
        let mut headers = HeaderMap::new();
        let text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n100%";
        write_status(&mut headers, Some(&Error::new(Code::Unknown, text)), false);
        headers.remove(GRPC_DETAILS);
        let error = read_status(&headers).expect("an error");
        assert_eq!((error.code(), error.detail()), (Code::Unknown, text));
    }

    #[test]
    fn success_is_none_and_silence_is_unknown() {
        let mut headers = HeaderMap::new();
        assert_eq!(read_status(&headers).map(|e| e.code()), Some(Code::Unknown));
        write_status(&mut headers, None, true);
        assert!(read_status(&headers).is_none());
        assert_eq!(
            read_status(&trailers(&[("grpc-status", "99")])).map(|e| e.code()),
            Some(Code::Unknown)
        );
    }

    #[test]
    fn a_detail_of_foreign_type_or_broken_base64_falls_back_to_the_text() {
        let foreign = RpcStatus {
            code: 3,
            message: "bad".into(),
            details: vec![Any {
                type_url: "type.googleapis.com/google.rpc.BadRequest".into(),
                value: Bytes::new(),
            }],
        };
        let encoded = STANDARD_NO_PAD.encode(foreign.encode_to_vec());
        for details in [encoded.as_str(), "%%%", "AAAA"] {
            let headers = trailers(&[
                ("grpc-status", "3"),
                ("grpc-message", "bad"),
                ("grpc-status-details-bin", details),
            ]);
            let error = read_status(&headers).expect("an error");
            assert_eq!((error.code(), error.detail()), (Code::InvalidArgument, "bad"));
        }
    }

    #[test]
    fn attached_details_reach_every_caller_but_go_micros() {
        let detail = Detail::new("google.rpc.BadRequest", vec![1, 2]);
        let error = Error::invalid_argument("bad").with_attached(detail.clone());
        for (error, own) in [(error.clone(), 0), (error.with_id("users"), 1)] {
            for micro in [false, true] {
                let mut headers = HeaderMap::new();
                write_status(&mut headers, Some(&error), micro);
                let first = read_details(&headers, GRPC_DETAILS);
                let foreign = first.iter().filter(|any| any.type_url != ERROR_TYPE).count();
                assert_eq!(foreign, usize::from(!micro), "a Go caller dies of a foreign detail");
                assert_eq!(first.len() - foreign, own.max(usize::from(micro)));
                let read = read_status(&headers).expect("an error");
                assert_eq!(read.attached(), std::slice::from_ref(&detail));
                assert_eq!((read.code(), read.id()), (Code::InvalidArgument, error.id()));
            }
        }
    }

    #[test]
    fn details_that_no_peer_takes_do_not_take_the_status_with_them() {
        let huge = Detail::new("x.Huge", vec![7; MAX_DETAILS]);
        let mut headers = HeaderMap::new();
        write_status(
            &mut headers,
            Some(&Error::new(Code::Aborted, "no").with_attached(huge)),
            false,
        );
        let error = read_status(&headers).expect("an error");
        assert_eq!(
            (error.code(), error.detail(), error.attached()),
            (Code::Aborted, "no", &[][..])
        );
    }

    #[test]
    fn a_huge_detail_is_clipped() {
        let mut headers = HeaderMap::new();
        write_status(&mut headers, Some(&Error::internal("é".repeat(100_000))), false);
        let error = read_status(&headers).expect("an error");
        assert!(error.detail().len() <= MAX_TEXT + 4 && error.detail().ends_with('…'));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_trailers_never_panic(
            status in "[0-9a-z-]{0,6}",
            message in "[ -~]{0,60}",
            details in "[A-Za-z0-9+/=]{0,80}",
        ) {
            let headers = trailers(&[
                ("grpc-status", status.as_str()),
                ("grpc-message", message.as_str()),
                ("grpc-status-details-bin", details.as_str()),
            ]);
            let _ = read_status(&headers);
        }

        #[test]
        fn any_error_survives_the_wire_of_either_kind(
            number in 1i32..17,
            id in "[a-z.]{0,20}",
            detail in "\\PC{0,100}",
            micro in proptest::prelude::any::<bool>(),
        ) {
            let code = Code::from_grpc(number).expect("a code");
            let error = Error::new(code, detail.clone()).with_id(id.clone());
            let mut headers = HeaderMap::new();
            write_status(&mut headers, Some(&error), micro);
            let read = read_status(&headers).expect("an error");
            proptest::prop_assert_eq!((read.code(), read.id(), read.detail()), (code, &*id, &*detail));
        }
    }
}
