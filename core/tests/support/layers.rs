//! What tests of a client's layers share: a log, and a service that says what it has seen.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};
use micro::client::ClientBuilder;
use micro::registry::Memory;
use micro::server::Endpoint;
use micro::{Client, Context, Error, Raw, Result, Service, Streaming};

use super::service;

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().expect("the log").push(line.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("the log"))
    }
}

/// A client of that registry, to be given layers.
pub(crate) fn builder(registry: &Arc<Memory>) -> ClientBuilder {
    Client::builder().registry(registry.clone())
}

/// A service whose `Echo.Call` answers with the request, and whose streams do message by message. All of them say what the
/// header `tag` was.
pub(crate) async fn tagged(registry: &Arc<Memory>, name: &str) -> Result<Service> {
    let tag = |context: &Context| {
        let tag = context.metadata().get("tag").unwrap_or("none").to_owned();
        context.set_header("tag", &tag).expect("a header");
        context.set_trailer("end", "yes").expect("a trailer");
        tag
    };
    service(registry, name)
        .endpoint("Echo.Call", move |context: Context, Raw(message): Raw| {
            let tag = tag(&context);
            async move { Ok(Raw::from([&message[..], b" ", tag.as_bytes()].concat())) }
        })
        .server_stream("Echo.Three", move |context: Context, request: Raw| {
            tag(&context);
            async move { Ok(stream::iter([Ok(request.clone()), Ok(request.clone()), Ok(request)])) }
        })
        .client_stream("Echo.Join", move |context: Context, requests: Streaming<Raw>| {
            tag(&context);
            async move {
                let all: Vec<Result<Raw>> = requests.collect().await;
                let all = all.into_iter().collect::<Result<Vec<_>>>()?;
                let parts: Vec<_> = all.iter().map(|part| &part.0[..]).collect();
                Ok(Raw::from(parts.concat()))
            }
        })
        .bidi_stream("Echo.Each", move |context: Context, requests: Streaming<Raw>| {
            tag(&context);
            async move { Ok(requests) }
        })
        .start()
        .await
}

/// `Echo.Call` that fails `times` times as a handler that is down does, and says which header `tag` it had.
pub(crate) fn flaky(times: usize, log: &Log) -> Endpoint {
    let (left, log) = (AtomicUsize::new(times), log.clone());
    Endpoint::unary("Echo.Call", move |context: Context, request: Raw| {
        let fails = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        log.add(context.metadata().get("tag").unwrap_or("none"));
        async move { if fails { Err(Error::unavailable("down")) } else { Ok(request) } }
    })
    .idempotent()
}
