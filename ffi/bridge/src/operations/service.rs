//! What is asked of a service, by the client that calls in its name.

use std::sync::Arc;

use micro::jobs::Status;
use micro::{Error, Service};
use serde_json::json;

use super::ground::{Answer, At, Nothing};

/// What the service has seen so far: `edges`, its calls by caller and endpoint, those `in_flight`, and how many were `shed`.
pub(crate) async fn stats(at: At, _: Nothing) -> micro::Result<Answer> {
    let service = behind(at)?;
    let server = service.server();
    Answer::json(&json!({
        "in_flight": server.in_flight(),
        "shed": server.shed(),
        "edges": server.metrics().to_json(),
    }))
}

/// The jobs of the service, as `Debug.Jobs` tells them: an array of `name`, `schedule`, `scope`, `next_ms` and `runs`.
pub(crate) async fn jobs(at: At, _: Nothing) -> micro::Result<Answer> {
    Answer::json(&behind(at)?.jobs().iter().map(Status::to_json).collect::<Vec<_>>())
}

/// The service that a client belongs to.
fn behind(at: At) -> micro::Result<Arc<Service>> {
    at.service.ok_or_else(|| {
        Error::failed_precondition(
            "this client belongs to no running service: ask the client of the service",
        )
    })
}
