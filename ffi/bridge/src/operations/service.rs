//! What is asked of a service, by the client that calls in its name.

use micro::Error;
use serde_json::json;

use super::ground::{Answer, At, Nothing};

/// What the service has seen so far: `edges`, its calls by caller and endpoint, those `in_flight`, and how many were `shed`.
pub(crate) async fn stats(at: At, _: Nothing) -> micro::Result<Answer> {
    let service = at.service.ok_or_else(|| {
        Error::failed_precondition(
            "this client belongs to no running service: ask the client of the service",
        )
    })?;
    let server = service.server();
    Answer::json(&json!({
        "in_flight": server.in_flight(),
        "shed": server.shed(),
        "edges": server.metrics().to_json(),
    }))
}
