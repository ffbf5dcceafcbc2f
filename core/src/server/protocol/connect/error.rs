//! How Connect tells of an error: JSON, and an HTTP status for unary calls.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::error::{Code, Error};
use crate::transport::{details, is_status, read_status};

/// The HTTP status of a failed unary call.
pub(super) fn status(code: Code) -> StatusCode {
    match code {
        // 499, which has no name.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Connect's spelling of a code, for example `not_found`.
fn name(code: Code) -> String {
    match code {
        Code::Cancelled => "canceled".to_owned(),
        code => code.name().to_ascii_lowercase(),
    }
}

/// The error as Connect writes it.
pub(super) fn json(error: &Error) -> Value {
    let mut object = Map::new();
    object.insert("code".into(), name(error.code()).into());
    if !error.detail().is_empty() {
        object.insert("message".into(), error.detail().into());
    }
    let details: Vec<_> = details(error)
        .map(|detail| {
            let value = STANDARD_NO_PAD.encode(&detail.value);
            json!({ "type": detail.name(), "value": value })
        })
        .collect();
    if !details.is_empty() {
        object.insert("details".into(), details.into());
    }
    object.into()
}

/// The last message of a stream, by the trailers gRPC would end it with.
pub(super) fn end_of_stream(trailers: &HeaderMap) -> Vec<u8> {
    let mut object = Map::new();
    if let Some(error) = read_status(trailers) {
        object.insert("error".into(), json(&error));
    }
    let mut metadata = Map::new();
    for name in trailers.keys().filter(|name| !is_status(name)) {
        let values = trailers.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        metadata.insert(name.to_string(), values.collect::<Vec<_>>().into());
    }
    if !metadata.is_empty() {
        object.insert("metadata".into(), metadata.into());
    }
    Value::from(object).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Detail;
    use crate::transport::write_status;

    #[test]
    fn an_error_is_written_with_its_details_and_the_frameworks_own() {
        let bare = json(&Error::not_found("no user 7"));
        assert_eq!(bare, json!({ "code": "not_found", "message": "no user 7" }));
        let error = Error::new(Code::Cancelled, "")
            .with_id("users")
            .with_attached(Detail::new("google.rpc.BadRequest", vec![1]));
        let whole = json(&error);
        assert_eq!(whole["code"], "canceled");
        assert_eq!(whole["details"][0]["type"], "errors.Error");
        assert_eq!(whole["details"][1], json!({ "type": "google.rpc.BadRequest", "value": "AQ" }));
    }

    #[test]
    fn the_end_of_a_stream_tells_the_error_and_the_trailers() {
        let mut trailers = HeaderMap::new();
        trailers.insert("seen", "1".parse().expect("a value"));
        trailers.append("seen", "2".parse().expect("a value"));
        write_status(&mut trailers, Some(&Error::not_found("gone")), false);
        let end: Value = serde_json::from_slice(&end_of_stream(&trailers)).expect("JSON");
        let error = json!({ "code": "not_found", "message": "gone" });
        assert_eq!(end, json!({ "error": error, "metadata": { "seen": ["1", "2"] } }));
        let mut trailers = HeaderMap::new();
        write_status(&mut trailers, None, false);
        assert_eq!(end_of_stream(&trailers), b"{}");
    }
}
