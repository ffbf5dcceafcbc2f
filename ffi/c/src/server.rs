//! Services.

use micro_bridge::Server;

use crate::error::{answer, make, micro_error};
use crate::object::{self, Opaque, act, at, place, put};
use crate::runtime::json;
use crate::{
    micro_bytes, micro_client, micro_options, micro_queue, micro_runtime, micro_slice, micro_status,
};

/// A service: endpoints are added, then it is started, and its calls come out of a queue.
pub struct micro_server;

impl Opaque for micro_server {
    const NAME: &'static str = "server";
    const WORD: u64 = u64::from_ne_bytes(*b"microSER");
    type Inside = Server;
}

/// A service called `name`. `options` may be NULL; its keys are those of a service in docs/configuration.md, and `once`: with true
/// it serves one call or message, refuses others that come meanwhile, and stops in order once that is answered or settled.
///
/// Where its options have arguments, what they say is answered at once: MICRO_CANCELLED for --help and --version, with the text
/// to print as the error's message, MICRO_INVALID_ARGUMENT for a flag, a variable or a document that is wrong, with what was
/// meant. A program prints the message, and ends with 0 for the one and 2 for the other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_server_new(
    runtime: *mut micro_runtime,
    name: micro_slice,
    options: *const micro_options,
    out: *mut *mut micro_server,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL, readable text, and writable `out` and `err`.
    unsafe { make(out, err, || Server::new(at(runtime)?, name.text("name")?, &json(options)?)) }
}

/// Every setting of a service with its value and what set it, as a start would find them now: a JSON array of objects with key,
/// value, source and kind (default, code, document, variable, flag). Takes what micro_server_new takes, and starts nothing. The
/// caller owns `out`. Fails as micro_server_new does with arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_server_explain(
    name: micro_slice,
    options: *const micro_options,
    out: *mut micro_bytes,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises readable text, valid options, and writable `out` and `err`.
    unsafe {
        answer(err, || {
            let told = Server::explain(name.text("name")?, &json(options)?)?;
            put(place(out, "explanation")?, micro_bytes::give(told.into()))
        })
    }
}

/// Adds an endpoint, "Type.Method", of the `kind` MICRO_UNARY, MICRO_CLIENT_STREAM, MICRO_SERVER_STREAM or MICRO_BIDI_STREAM.
/// `options` is a JSON document (docs/configuration.md), or nothing. `method` gets the number by which events name it; they
/// count from 0 in the order of this call. A name that cannot be used is found out by the start.
///
/// The name "*", of kind MICRO_BIDI_STREAM, answers the calls that no other endpoint does; micro_call_describe tells their path.
///
/// With the options {"register_check": true} it is no endpoint but the check before each registration, of kind MICRO_UNARY and any
/// name: it comes as MICRO_EVENT_CALL with its number. A node that is fit answers with an empty micro_reply, one that is not with
/// an error, and is not registered then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_server_method(
    server: *mut micro_server,
    name: micro_slice,
    shape: u32,
    options: micro_slice,
    method: *mut u32,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises a live server or NULL, readable text, and writable `method` and `err`.
    unsafe {
        answer(err, || {
            let (name, options) = (name.text("name")?, options.text("options")?);
            put(method, at(server)?.method(name, micro_bridge::shape(shape)?, options)?)
        })
    }
}

/// Listens, registers and serves. Tells MICRO_EVENT_OPENED when callers may come, MICRO_EVENT_CALL for each call, all with this
/// `token`, and ends in one MICRO_EVENT_END, with an error when it could not start.
/// MICRO_EVENT_OPENED and MICRO_EVENT_END carry the server's own id, by which they are told from those of calls.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_server_start(
    server: *mut micro_server,
    queue: *mut micro_queue,
    token: u64,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises live objects or NULL, and a writable `err`.
    unsafe { answer(err, || at(server)?.start(at(queue)?, token).map(drop)) }
}

/// Stops in order, and returns at once: deregisters, serves on until callers have heard of it, finishes running calls within
/// the grace of its options. MICRO_EVENT_END tells when that is done. Harmless when repeated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_server_stop(server: *mut micro_server) -> micro_status {
    // SAFETY: the caller promises a live server or NULL.
    unsafe { act(server, |server| server.stop()) }
}

/// Says whether a service is ready, as health checks ask; an empty name is the whole server. MICRO_FAILED_PRECONDITION while it
/// does not run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_server_health(
    server: *mut micro_server,
    service: micro_slice,
    serving: bool,
) -> micro_status {
    // SAFETY: the caller promises a live server or NULL, and readable text.
    unsafe { act(server, |server| server.set_health(service.text("service")?, serving)) }
}

/// A client that shares the service's registry and calls in its name. The caller owns it. MICRO_FAILED_PRECONDITION while the
/// service does not run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_server_client(
    server: *mut micro_server,
    out: *mut *mut micro_client,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises a live server or NULL, and writable `out` and `err`.
    unsafe { make(out, err, || at(server)?.client()) }
}

/// Frees a service. One that runs goes on until its runtime ends; stop it first. NULL is fine. In a child of the process it
/// does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_server_free(server: *mut micro_server) {
    // SAFETY: the caller promises a live server or NULL, and uses it no more.
    unsafe { object::free(server, drop) };
}
