//! What is mounted on a server before it starts.

use prost_reflect::DescriptorPool;

use super::endpoint::is_usable;
use super::mount::{Handlers, Mount};
use super::routes::Routes;
use crate::error::{Error, Result};

/// Services that every server has, and what stands in for one that is mounted.
const OURS: [(&str, &str); 2] = [
    ("grpc.health.", "the server answers health checks itself: see `Server::health`"),
    (
        "grpc.reflection.",
        "the server answers reflection itself: give it the descriptors with `descriptors`",
    ),
];

/// What a server to be has mounted.
#[derive(Default)]
pub(crate) struct Mounted {
    mounts: Vec<Mount>,
}

impl Mounted {
    /// Mounts a service by its full name.
    pub(crate) fn add(&mut self, name: &str, handlers: Handlers) {
        self.mounts.push(Mount::new(name, handlers));
    }

    /// Adds what is known of the services to the routes.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a service that every server has or whose name is none;
    /// `ALREADY_EXISTS` for one that is mounted twice, or whose methods are registered beside it.
    pub(super) fn settle(&mut self, routes: &mut Routes, pools: &[DescriptorPool]) -> Result<()> {
        for mut mount in std::mem::take(&mut self.mounts) {
            let name = mount.name();
            if let Some((_, instead)) = OURS.iter().find(|(ours, _)| name.starts_with(ours)) {
                return Err(Error::invalid_argument(format!("leave `{name}` out: {instead}")));
            }
            if !name.split('.').all(is_usable) {
                return Err(Error::invalid_argument(format!(
                    "`{name}` is no name of a protobuf service: it has letters, digits, `_` and single dots"
                )));
            }
            if routes.mounts.have(name) {
                return Err(Error::already_exists(format!(
                    "the service `{name}` is mounted twice: leave one of them out"
                )));
            }
            if let Some(service) = pools.iter().find_map(|pool| pool.get_service_by_name(name)) {
                mount
                    .describe(&service)
                    .into_iter()
                    .try_for_each(|endpoint| routes.add(endpoint))?;
            }
            routes.mounts.add(mount);
        }
        Ok(())
    }
}
