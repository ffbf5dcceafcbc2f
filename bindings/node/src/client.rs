//! Calls, streams and questions.

use micro_bridge::{Publication, Question, Request, operations, request_flags};
use napi::Either;
use napi_derive::napi;

use crate::failure::{Failure, told};
use crate::number::{id, nanoseconds, of_id, whole};
use crate::payload::bytes;
use crate::queue::Queue;
use crate::runtime::Runtime;

/// Calls services by name.
#[napi]
pub struct Client(pub(crate) micro_bridge::Client);

/// Makes a client. `options` is a JSON document.
#[napi]
pub(crate) fn new_client(runtime: &Runtime, options: String) -> Either<Client, Failure> {
    told(|| micro_bridge::Client::new(&runtime.inner, &options).map(Client))
}

#[napi]
#[allow(clippy::too_many_arguments, reason = "an object costs more than its parts")]
impl Client {
    /// Makes a unary call, or opens a stream of another `shape`; events tell what becomes of it. Returns its id.
    #[napi]
    pub fn call(
        &self,
        queue: &Queue,
        token: f64,
        shape: u32,
        service: String,
        endpoint: String,
        message: &[u8],
        length: u32,
        meta: &[u8],
        timeout: f64,
        parent: f64,
        options: String,
        flags: u32,
    ) -> Either<f64, Failure> {
        let request = Request {
            service: &service,
            endpoint: &endpoint,
            payload: bytes(message, length),
            meta,
            timeout_ns: nanoseconds(timeout),
            parent: id(parent),
            options: &options,
            flags,
        };
        told(|| {
            let begun = match shape {
                0 => self.0.call(&queue.queue, request, whole(token)),
                _ => self.0.open(&queue.queue, request, micro_bridge::shape(shape)?, whole(token)),
            };
            begun.map(of_id)
        })
    }

    /// Publishes a message; an event tells when its broker has it. Returns its id.
    #[napi]
    pub fn publish(
        &self,
        queue: &Queue,
        token: f64,
        topic: String,
        message: &[u8],
        length: u32,
        meta: &[u8],
        timeout: f64,
        parent: f64,
        options: String,
        flags: u32,
    ) -> Either<f64, Failure> {
        let publication = Publication {
            topic: &topic,
            payload: bytes(message, length),
            meta,
            timeout_ns: nanoseconds(timeout),
            parent: id(parent),
            options: &options,
            flags,
        };
        told(|| self.0.publish(&queue.queue, publication, whole(token)).map(of_id))
    }

    /// Asks a question; an event tells the answer. Returns its id.
    #[napi]
    pub fn ask(
        &self,
        queue: &Queue,
        token: f64,
        operation: String,
        args: String,
        timeout: f64,
        parent: f64,
    ) -> Either<f64, Failure> {
        let question = question(&operation, &args, timeout, parent);
        told(|| self.0.ask(&queue.queue, question, whole(token)).map(of_id))
    }

    /// Follows something; events tell what happens. Returns its id.
    #[napi]
    pub fn follow(
        &self,
        queue: &Queue,
        token: f64,
        operation: String,
        args: String,
        timeout: f64,
        parent: f64,
    ) -> Either<f64, Failure> {
        let question = question(&operation, &args, timeout, parent);
        told(|| self.0.follow(&queue.queue, question, whole(token)).map(of_id))
    }
}

fn question<'a>(operation: &str, args: &'a str, timeout: f64, parent: f64) -> Question<'a> {
    Question {
        operation: operations::number(operation).unwrap_or_default(),
        args,
        timeout_ns: nanoseconds(timeout),
        parent: id(parent),
        flags: request_flags::WAIT,
        ..Question::default()
    }
}
