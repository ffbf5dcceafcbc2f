//! Services that are mounted whole: they answer for themselves, and all that their type says is a name.
//!
//! What a descriptor says of a service makes endpoints of its methods, like any others. Of other services, a method becomes
//! known by the first call of it that the service does not turn away.

use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use papaya::HashMap;
use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{MethodDescriptor, ServiceDescriptor};

use super::endpoint::{Endpoint, is_usable};
use super::handler::Handler;
use super::transcoded::transcoded;
use crate::codec::{Raw, Schema};
use crate::error::{Error, Result};
use crate::registry;
use crate::shape::Shape;

/// Methods of one service that are kept; others are made anew for each call.
const MAX_METHODS: usize = 1_000;

/// Makes the handler of a method. With a [`Lesson`], it has to tell whether the method exists.
pub(crate) type Handlers = Box<dyn Fn(&str, Option<Lesson>) -> Handler + Send + Sync>;

/// A service that is mounted.
pub(crate) struct Mount {
    /// Full name, with the package.
    name: Box<str>,
    handlers: Handlers,
    /// A descriptor says what its methods are.
    described: bool,
    learned: HashMap<Box<str>, Arc<Endpoint>, RandomState>,
}

/// Whether a method exists is still to be learned.
pub(crate) struct Lesson {
    mount: Weak<Mount>,
    endpoint: Arc<str>,
    method: Box<str>,
}

impl Lesson {
    /// The service has answered a call of the method.
    pub(crate) fn learn(&self) {
        let Some(mount) = self.mount.upgrade() else { return };
        let learned = mount.learned.pin();
        if learned.len() < MAX_METHODS {
            let endpoint = || Arc::new(mount.endpoint_of(&self.endpoint, &self.method, None));
            learned.get_or_insert_with(self.method.clone(), endpoint);
        }
    }
}

impl Mount {
    /// A service by its full name, of which nothing else is known.
    pub(super) fn new(name: &str, handlers: Handlers) -> Self {
        Self { name: name.into(), handlers, described: false, learned: HashMap::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The endpoints of the methods that `service` has.
    pub(super) fn describe(&mut self, service: &ServiceDescriptor) -> Vec<Endpoint> {
        self.described = true;
        service.methods().map(|method| self.described(&method)).collect()
    }

    /// Package and type.
    fn parts(&self) -> (&str, &str) {
        self.name.rsplit_once('.').unwrap_or(("", &self.name))
    }

    fn endpoint_of(&self, endpoint: &str, method: &str, lesson: Option<Lesson>) -> Endpoint {
        let handler = (self.handlers)(method, lesson);
        // A stream may be of one message.
        Endpoint::new::<Raw, Raw>(endpoint, Shape::BidiStream, handler)
    }

    /// The endpoint of a method, called `prefix.method`.
    fn endpoint(self: &Arc<Self>, prefix: &str, method: &str) -> Arc<Endpoint> {
        if let Some(known) = self.learned.pin().get(method) {
            return known.clone();
        }
        let name: Arc<str> = format!("{prefix}.{method}").into();
        let (mount, endpoint) = (Arc::downgrade(self), name.clone());
        let lesson = Lesson { mount, endpoint, method: method.into() };
        Arc::new(self.endpoint_of(&name, method, Some(lesson)))
    }

    fn described(&self, method: &MethodDescriptor) -> Endpoint {
        let name = format!("{}.{}", self.name, method.name());
        let shape = match (method.is_client_streaming(), method.is_server_streaming()) {
            (false, false) => Shape::Unary,
            (false, true) => Shape::ServerStream,
            (true, false) => Shape::ClientStream,
            (true, true) => Shape::BidiStream,
        };
        let handler = (self.handlers)(method.name(), None);
        let handler = transcoded(handler, method.input(), method.output());
        let schema = Schema::of_protobuf;
        let endpoint = Endpoint::new::<Raw, Raw>(&name, shape, handler)
            .schemas(schema(method.input()), schema(method.output()));
        let options = method.method_descriptor_proto().options.as_ref();
        match options.map(|options| options.idempotency_level()) {
            Some(IdempotencyLevel::NoSideEffects) => endpoint.read_only(),
            Some(IdempotencyLevel::Idempotent) => endpoint.idempotent(),
            _ => endpoint,
        }
    }
}

/// The services that a server has mounted.
#[derive(Default)]
pub(super) struct Mounts(Vec<Arc<Mount>>);

impl Mounts {
    pub(super) fn add(&mut self, mount: Mount) {
        self.0.push(Arc::new(mount));
    }

    /// Whether there is one of this full name.
    pub(super) fn have(&self, name: &str) -> bool {
        self.0.iter().any(|mount| *mount.name == *name)
    }

    /// The endpoint of a method. The package of the path counts where several services have the same type, as it does for
    /// endpoints.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` with the full paths where the path fits several services.
    pub(super) fn find(
        &self,
        package: &str,
        kind: &str,
        method: &str,
    ) -> Result<Option<Arc<Endpoint>>> {
        let mut fits = self.0.iter().filter(|mount| mount.parts().1 == kind);
        let Some(first) = fits.next() else { return Ok(None) };
        if !is_usable(method) {
            return Ok(None);
        }
        if fits.next().is_none() {
            return Ok(Some(first.endpoint(kind, method)));
        }
        let mut fits = self.0.iter().filter(|mount| mount.parts().1 == kind);
        match fits.clone().find(|mount| mount.parts().0 == package) {
            Some(mount) => Ok(Some(mount.endpoint(&mount.name, method))),
            None => {
                let mut paths = format!("/{}/{method}", first.name);
                fits.next();
                for mount in fits {
                    paths.push_str(&format!(" or /{}/{method}", mount.name));
                }
                Err(Error::unimplemented(format!(
                    "`{kind}.{method}` is in several packages here: call {paths}"
                )))
            }
        }
    }

    /// Full names of the services that no descriptor describes.
    pub(super) fn undescribed(&self) -> Vec<&str> {
        self.0.iter().filter(|mount| !mount.described).map(|mount| &*mount.name).collect()
    }

    /// What the registry says of the services that no descriptor describes: their type, with any method.
    pub(super) fn records(&self) -> impl Iterator<Item = registry::Endpoint> {
        let undescribed = self.0.iter().filter(|mount| !mount.described);
        undescribed.map(|mount| registry::Endpoint {
            name: format!("{}.*", mount.parts().1),
            ..registry::Endpoint::default()
        })
    }
}

impl std::fmt::Debug for Mounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|mount| &mount.name)).finish()
    }
}
