//! What every document is held to.

mod arbitrary;
mod fields;
mod messages;
mod mistakes;
mod ranges;
mod sources;
mod told;

use std::sync::Arc;

use serde_json::Value as Json;

use super::*;
use crate::client::{CallOptions, ClientBuilder};
use crate::codec::Raw;
use crate::error::Result;
use crate::server::Endpoint;
use crate::service::ServiceBuilder;

fn service(document: &Json) -> Result<ServiceBuilder> {
    ServiceSettings::from_json(&document.to_string())?.builder("greeter")
}

fn client(document: &Json) -> Result<ClientBuilder> {
    ClientSettings::from_json(&document.to_string())?.builder()
}

fn call(document: &Json) -> Result<CallOptions> {
    Ok(CallSettings::from_json(&document.to_string())?.into())
}

fn endpoint(document: &Json) -> Result<Endpoint> {
    EndpointSettings::from_json(&document.to_string())?.apply(echo())
}

fn echo() -> Endpoint {
    Endpoint::unary("Echo.Call", |_, request: Raw| async move { Ok(request) })
}
