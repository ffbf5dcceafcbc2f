//! What a service of the host will serve: endpoints, subscribers and jobs, and how the host is asked for each.

use bytes::Bytes;
use futures_util::future::TryFutureExt as _;
use micro::broker::{Incoming, Subscriber};
use micro::server::{Body, Endpoint, Request};
use micro::service::ServiceBuilder;
use micro::settings::{EndpointSettings, JobSettings, SubscriberSettings};
use micro::{Codec, Context, Metadata, Shape};

use crate::delivery::{codec, facts, facts_of_run};
use crate::inbound::{Arriving, Host, serve};

/// The option of an endpoint that makes it the register check.
pub(crate) const REGISTER_CHECK: &str = "register_check";

/// The name of the endpoint that answers what no other does.
pub(crate) const FALLBACK: &str = "*";

pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) what: What,
}

/// What the host answers.
pub(crate) enum What {
    Endpoint(Shape, EndpointSettings),
    /// Asked by the service itself.
    RegisterCheck,
    /// Messages of the topic that it is called.
    Subscriber(SubscriberSettings),
    /// The same, with answers that can be asked for.
    Task(SubscriberSettings),
    Job(JobSettings),
}

impl Planned {
    /// Has the service serve it, under this number.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for an endpoint that cannot be.
    pub(crate) fn add(
        self,
        builder: ServiceBuilder,
        (service, method): (&str, u32),
        host: Host,
    ) -> micro::Result<ServiceBuilder> {
        let Self { name, what } = self;
        Ok(match what {
            What::RegisterCheck => {
                let of = service.to_owned();
                builder.register_check(move || check(host.clone(), method, of.clone()))
            }
            What::Subscriber(settings) => {
                let handled = move |incoming| handle(host.clone(), method, incoming).map_ok(drop);
                builder.subscriber(settings.apply(Subscriber::raw(name, handled)))
            }
            What::Task(settings) => {
                let handler = move |incoming| handle(host.clone(), method, incoming);
                builder.subscriber(settings.apply(Subscriber::raw_task(name, handler)))
            }
            What::Job(settings) => {
                builder.job(settings.job(move |context| run(host.clone(), method, context)))
            }
            What::Endpoint(shape, settings) => {
                let handler = move |request: Request| serve(host.clone(), method, request.into());
                match &*name {
                    FALLBACK => builder.fallback(handler),
                    _ => builder.handle(settings.apply(Endpoint::raw(&name, shape, handler))?),
                }
            }
        })
    }
}

/// Asks the host whether the node is fit for calls.
async fn check(host: Host, method: u32, service: String) -> micro::Result<()> {
    let context = Context::of_question(&service, REGISTER_CHECK, Metadata::new(), None);
    serve(host, method, bare(context, None)).await.map(drop)
}

/// Has the host handle a message. What it answers.
async fn handle(host: Host, method: u32, incoming: Incoming) -> micro::Result<Bytes> {
    let Incoming { context, delivered, .. } = incoming;
    let body = Body::Message(delivered.message.body.clone());
    let (shape, codec) = (Shape::Unary, codec(&delivered));
    let arriving = Arriving { context, shape, codec, body, facts: Some(facts(&delivered)) };
    serve(host, method, arriving).await?.body.into_message().await
}

/// Has the host carry out a run of a job.
async fn run(host: Host, method: u32, context: Context) -> micro::Result<()> {
    let facts = context.job().map(|run| facts_of_run(&context, &run));
    serve(host, method, bare(context, facts)).await.map(drop)
}

/// What comes without a message.
fn bare(context: Context, facts: Option<Bytes>) -> Arriving {
    let (shape, codec, body) = (Shape::Unary, Codec::Bytes, Body::Message(Bytes::new()));
    Arriving { context, shape, codec, body, facts }
}
