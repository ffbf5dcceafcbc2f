//! What a connection or stream that broke means for its calls.

use h2::Reason;

use super::tls;
use crate::error::{Code, Error, Reach};

/// The error of a connection or stream that broke, by gRPC's table of HTTP/2 codes.
pub(crate) fn broken(error: &h2::Error) -> Error {
    let text = error.to_string();
    if let Some(why) = refusal(error, &text) {
        return Error::unavailable(why).with_id("go.micro.client").with_reach(Reach::Never);
    }
    let (code, reach) = match error.reason() {
        Some(Reason::REFUSED_STREAM) => (Code::Unavailable, Reach::Never),
        // Streams above the last one of a clean GOAWAY were never looked at.
        Some(Reason::NO_ERROR) if error.is_go_away() => (Code::Unavailable, Reach::Never),
        Some(Reason::CANCEL) => (Code::Cancelled, Reach::Maybe),
        Some(Reason::ENHANCE_YOUR_CALM) => (Code::ResourceExhausted, Reach::Maybe),
        Some(Reason::INADEQUATE_SECURITY) => (Code::PermissionDenied, Reach::Maybe),
        Some(_) if error.is_reset() => (Code::Internal, Reach::Maybe),
        _ => (Code::Unavailable, Reach::Maybe),
    };
    Error::new(code, format!("connection broke: {text}"))
        .with_id("go.micro.client")
        .with_reach(reach)
}

/// Why a server wants nothing of this connection, where it has said so: it took no call then.
pub(super) fn refusal(error: &h2::Error, text: &str) -> Option<&'static str> {
    // In TLS 1.3 a server judges the client's certificate when the client has begun to speak. h2 keeps the text alone.
    let told = text.split_once("received fatal alert: ").filter(|_| error.is_io())?.1;
    tls::REFUSALS
        .into_iter()
        .find(|told_by| told.starts_with(&format!("{told_by:?}")))
        .and_then(|told| tls::alert(told, tls::Side::Client))
}
