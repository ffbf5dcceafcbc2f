//! Services whose handlers are JavaScript's.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use napi::Either;
use napi_derive::napi;

use crate::client::Client;
use crate::failure::{Failure, done, told};
use crate::number::{of_id, whole};
use crate::queue::Queue;
use crate::runtime::{Kept, Runtime};

/// A service: endpoints first, then it is started.
#[napi]
pub struct Server {
    server: micro_bridge::Server,
    kept: Arc<Kept>,
}

/// Makes a service. `options` is a JSON document.
#[napi]
pub(crate) fn new_server(
    runtime: &Runtime,
    name: String,
    options: String,
) -> Either<Server, Failure> {
    told(|| {
        let server = micro_bridge::Server::new(&runtime.inner, &name, &options)?;
        Ok(Server { server, kept: runtime.kept.clone() })
    })
}

/// Every setting of a service with what set it, as JSON. Needs no runtime.
#[napi]
pub(crate) fn explain(name: String, options: String) -> Either<String, Failure> {
    told(|| micro_bridge::Server::explain(&name, &options))
}

#[napi]
impl Server {
    /// Adds an endpoint; endpoints are numbered in this order.
    #[napi]
    pub fn method(&self, name: String, shape: u32, options: String) -> Either<u32, Failure> {
        told(|| self.server.method(&name, micro_bridge::shape(shape)?, &options))
    }

    /// Adds a subscriber to a topic; it is numbered as endpoints are.
    #[napi]
    pub fn subscribe(&self, topic: String, options: String) -> Either<u32, Failure> {
        told(|| self.server.subscribe(&topic, &options))
    }

    /// Adds a job; it is numbered as endpoints are.
    #[napi]
    pub fn job(&self, options: String) -> Either<u32, Failure> {
        told(|| self.server.job(&options))
    }

    /// Starts it; events tell when callers may come, their calls, and when it is over. Returns its id.
    #[napi]
    pub fn start(&self, queue: &Queue, token: f64) -> Either<f64, Failure> {
        self.kept.serves.store(true, Ordering::Relaxed);
        told(|| self.server.start(&queue.queue, whole(token)).map(of_id))
    }

    /// Begins the stop, in order.
    #[napi]
    pub fn stop(&self) -> Option<Failure> {
        done(|| self.server.stop())
    }

    /// Says whether a service is ready, as health checks ask.
    #[napi]
    pub fn set_health(&self, service: String, serving: bool) -> Option<Failure> {
        done(|| self.server.set_health(&service, serving))
    }

    /// A client that calls in the name of the service.
    #[napi]
    pub fn client(&self) -> Either<Client, Failure> {
        told(|| self.server.client().map(Client))
    }
}

/// Makes `host://name` the URL of something whose questions are told with `token`. Returns its id; cancelling that withdraws the
/// name.
#[napi]
pub(crate) fn provide(
    runtime: &Runtime,
    area: u32,
    name: String,
    queue: &Queue,
    token: f64,
) -> Either<f64, Failure> {
    told(|| runtime.inner.provide(area, &name, &queue.queue, whole(token)).map(of_id))
}
