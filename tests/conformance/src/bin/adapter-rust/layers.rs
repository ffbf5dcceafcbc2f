//! Middleware of both sides: what the README says of layers.

use micro::client::ClientBuilder;
use micro::client::layers::Response as Reply;
use micro::server::{Body, Response};
use micro::service::ServiceBuilder;
use micro::{Error, Metadata};
use micro_conformance::Line;

/// What the caller wants of the layer `name`.
enum Asked {
    Nothing,
    Refusal,
    Answer,
}

fn asked(metadata: &Metadata, name: &str) -> Asked {
    if metadata.get("refuse") == Some(name) {
        return Asked::Refusal;
    }
    if metadata.get("answer") == Some(name) { Asked::Answer } else { Asked::Nothing }
}

fn refusal(name: &str) -> Error {
    Error::permission_denied(format!("refused by {name}"))
}

/// Around the calls of a service, in the order of the request.
pub(crate) fn of_service(mut builder: ServiceBuilder, request: &Line) -> ServiceBuilder {
    for (_, name) in request.under("layer") {
        builder = builder.layer_fn(move |request, next| {
            let name = name.clone();
            async move {
                let context = request.context.clone();
                context.set_header("layer", &name)?;
                match asked(context.metadata(), &name) {
                    Asked::Refusal => return Err(refusal(&name)),
                    Asked::Answer => return Ok(Response { body: Body::Message(name.into()) }),
                    Asked::Nothing => {}
                }
                let answer = next.run(request).await;
                context.set_trailer("layer-end", &name)?;
                answer
            }
        });
    }
    builder
}

/// Around the calls of a client, in the order of the request.
pub(crate) fn of_client(mut builder: ClientBuilder, request: &Line) -> ClientBuilder {
    for (_, name) in request.under("layer") {
        builder = builder.layer_fn(move |mut request, next| {
            let name = name.clone();
            async move {
                match asked(request.metadata(), &name) {
                    Asked::Refusal => return Err(refusal(&name)),
                    Asked::Answer => return Ok(Reply::message(name)),
                    Asked::Nothing => {}
                }
                request.metadata_mut().append("test-layer", &name)?;
                next.run(request).await
            }
        });
    }
    builder
}
