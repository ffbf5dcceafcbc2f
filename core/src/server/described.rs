//! Descriptors that a server is given for types which do not know their own.

use prost_reflect::{DescriptorPool, MethodDescriptor};

use super::endpoint::Endpoint;
use super::transcoded::transcoded;
use crate::codec::Schema;
use crate::error::{Error, Result};

/// What a server to be was given.
#[derive(Default)]
pub(super) struct Descriptors(Vec<Result<DescriptorPool>>);

impl Descriptors {
    pub(super) fn add(&mut self, set: &[u8]) {
        self.0.push(DescriptorPool::decode(set).map_err(|error| {
            Error::invalid_argument(format!(
                "descriptors: {error}: give a FileDescriptorSet with all that it imports, as `include_file_descriptor_set!` reads it"
            ))
        }));
    }

    /// # Errors
    /// `INVALID_ARGUMENT` for what was no descriptors.
    pub(super) fn pools(self) -> Result<Vec<DescriptorPool>> {
        self.0.into_iter().collect()
    }
}

/// Has the endpoint speak JSON by its method in one of the pools, where its types do not say enough for that.
///
/// # Errors
/// `INVALID_ARGUMENT` for a method of another shape.
pub(super) fn describe(endpoint: &mut Endpoint, pools: &[DescriptorPool]) -> Result<()> {
    if !endpoint.request.is_undescribed() && !endpoint.response.is_undescribed() {
        return Ok(());
    }
    let Some(method) = pools.iter().find_map(|pool| method(endpoint, pool)) else {
        return Ok(());
    };
    let streams = (endpoint.shape.client_streams(), endpoint.shape.server_streams());
    if streams != (method.is_client_streaming(), method.is_server_streaming()) {
        return Err(Error::invalid_argument(format!(
            "endpoint `{}` is of another kind than `{}` of its descriptors: look which of them streams",
            endpoint.name,
            method.full_name()
        )));
    }
    let (request, response) = (method.input(), method.output());
    endpoint.request = Schema::of_protobuf(request.clone());
    endpoint.response = Schema::of_protobuf(response.clone());
    endpoint.handler = transcoded(endpoint.handler.clone(), request, response);
    Ok(())
}

/// The method that an endpoint is named after; of several packages, that of its own.
fn method(endpoint: &Endpoint, pool: &DescriptorPool) -> Option<MethodDescriptor> {
    let (kind, method) = endpoint.type_and_method();
    let fits = |name: &str, package: &str| {
        name == kind && endpoint.package.as_deref().is_none_or(|own| own == package)
    };
    let mut services =
        pool.services().filter(|service| fits(service.name(), service.package_name()));
    let (service, more) = (services.next()?, services.next());
    let found = service.methods().find(|known| known.name() == method);
    found.filter(|_| more.is_none())
}
