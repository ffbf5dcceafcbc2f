//! The server's part: one service at a time.

use std::sync::Arc;

use micro::settings::{EndpointSettings, JobSettings, ServiceSettings, SubscriberSettings};
use micro::{Error, Result, Service};
use micro_conformance::Line;
use tokio::sync::{mpsc, watch};

use crate::Wrong;
use crate::handler::{Shared, State, endpoints, job, subscriber, worker};
use crate::keys::Keys;
use crate::layers;
use crate::output::{Output, failure};
use crate::questions;

/// Answers requests until there are no more.
pub(crate) async fn serve(
    mut requests: mpsc::UnboundedReceiver<Line>,
    output: Output,
    wrong: Option<Wrong>,
) {
    let shared = Arc::new(Shared { keys: Keys::default(), output, wrong });
    let mut running: Option<Arc<Service>> = None;
    while let Some(request) = requests.recv().await {
        let id = request.number("id").unwrap_or_default();
        let answer = |verb: &str| Line::new(verb).with("id", id);
        let key = || shared.keys.of(request.get("key").unwrap_or_default());
        match request.verb.as_str() {
            "start" => match start(&request, &shared).await {
                Ok(service) => {
                    output.tell(&answer("started").with("address", service.address()));
                    running = Some(Arc::new(service));
                }
                Err(error) => output.tell(&failure(answer("failed"), &error)),
            },
            "stop" => {
                let (output, service) = (output, running.take());
                let (stopped, failed) = (answer("ok"), answer("failed"));
                // Requests that let its handlers go must be read meanwhile.
                tokio::spawn(async move {
                    let outcome = match service {
                        Some(service) => service.stop().await,
                        None => Ok(()),
                    };
                    output.tell(&match outcome {
                        Ok(()) => stopped,
                        Err(error) => failure(failed, &error),
                    });
                });
            }
            "health" => {
                let serving = request.get("serving") == Some("true");
                if let Some(service) = &running {
                    service.server().health().set(service.name(), serving);
                }
                output.tell(&answer("ok"));
            }
            "release" => {
                key().release();
                output.tell(&answer("ok"));
            }
            "counts" => {
                let counts = key().counts();
                let line = answer("counts")
                    .with("calls", counts.calls)
                    .with("received", counts.received)
                    .with("sent", counts.sent)
                    .with("cancelled", counts.cancelled);
                output.tell(&line);
            }
            "ask" => {
                let stats = match &running {
                    Some(service) => Ok(Some(questions::stats(service))),
                    None => Err(Error::failed_precondition("no service runs")),
                };
                output.tell(&questions::told(answer("result"), stats));
            }
            "ping" => output.tell(&answer("ok")),
            other => output.note(&format!("a server does not know `{other}`")),
        }
    }
}

async fn start(request: &Line, shared: &Arc<Shared>) -> Result<Service> {
    let name = request.get("service").unwrap_or_default();
    let (give, client) = watch::channel(None);
    let tag = request.get("tag").unwrap_or_default().to_owned();
    let state = Arc::new(State { shared: shared.clone(), tag, client });
    let settings = ServiceSettings::from_json(request.get("settings").unwrap_or_default())?;
    let mut builder = layers::of_service(settings.builder(name)?, request);
    for endpoint in endpoints(&state) {
        let name = endpoint.name().replace("Conformance.", "endpoint.");
        let settings = EndpointSettings::from_json(request.get(&name).unwrap_or_default())?;
        builder = builder.handle(settings.apply(endpoint)?);
    }
    for (topic, settings) in request.under("subscriber.") {
        let settings = SubscriberSettings::from_json(&settings)?;
        builder = builder.subscriber(settings.apply(subscriber(&state, topic)));
    }
    for (topic, settings) in request.under("task.") {
        let settings = SubscriberSettings::from_json(&settings)?;
        builder = builder.subscriber(settings.apply(worker(&state, topic)));
    }
    for (_, settings) in request.under("job.") {
        builder = builder.job(job(&state, JobSettings::from_json(&settings)?));
    }
    let service = builder.start().await?;
    give.send_replace(Some(service.client().clone()));
    Ok(service)
}
