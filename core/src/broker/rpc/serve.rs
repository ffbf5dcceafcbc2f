//! Any broker, served to programs with go-micro.

use std::sync::Arc;

use futures_util::stream::{Stream, unfold};

use super::wire::{Carried, Empty, PUBLISH, PublishRequest, SUBSCRIBE, SubscribeRequest};
use crate::broker::{Broker, Deliveries, Delivery, Message, Subscription, Verdict};
use crate::codec::Proto;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::server::Endpoint;

/// What the service `go.micro.broker` has to [handle](crate::service::ServiceBuilder::handle), so that programs with go-micro publish
/// and subscribe by way of `broker`, with their broker `service`, and others by the URL `service://`. A broker that is found in a registry
/// is given to that service too.
///
/// Its protocol has no acknowledgement: a message counts as handled once it is on its way, so that it is delivered at most once.
/// Messages that are too large for it, 4 MiB with their headers, are dead letters where the broker has such. There is no
/// authentication: who can call the service can publish and subscribe.
///
/// ```
/// use std::sync::Arc;
///
/// use micro::{Service, broker, registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> micro::Result<()> {
/// let kept = broker::connect("memory://")?;
/// let service = Service::builder("go.micro.broker")
///     .registry(Arc::new(registry::Memory::new()))
///     .address("127.0.0.1:0")
///     .broker(kept.clone());
/// let service = broker::endpoints(kept).into_iter().fold(service, |service, one| service.handle(one));
/// let service = service.start().await?;
/// # service.stop().await
/// # }
/// ```
pub fn endpoints(broker: Arc<dyn Broker>) -> [Endpoint; 2] {
    let taking = broker.clone();
    let publish =
        Endpoint::unary(PUBLISH, move |_: Context, Proto(asked): Proto<PublishRequest>| {
            let broker = taking.clone();
            async move {
                broker.publish(published(asked)?).await?;
                Ok(Proto(Empty {}))
            }
        });
    let subscribe = Endpoint::server_stream(
        SUBSCRIBE,
        move |_: Context, Proto(asked): Proto<SubscribeRequest>| {
            let broker = broker.clone();
            async move {
                let mut subscription = Subscription::new(asked.topic);
                subscription.queue = Some(asked.queue).filter(|queue| !queue.is_empty());
                broker.subscribe(subscription).await.map(messages)
            }
        },
    );
    [publish, subscribe]
}

fn published(asked: PublishRequest) -> Result<Message> {
    let message = asked.message.ok_or_else(|| {
        Error::invalid_argument(format!(
            "nothing is to be published to {}: send a message",
            asked.topic
        ))
    })?;
    message.message(&asked.topic)
}

/// A subscription that is served, and the message that is on its way.
struct Served {
    deliveries: Box<dyn Deliveries>,
    sent: Option<Delivery>,
}

fn messages(deliveries: Box<dyn Deliveries>) -> impl Stream<Item = Result<Proto<Carried>>> + Send {
    unfold(Served { deliveries, sent: None }, |mut served| async {
        served.next().await.transpose().map(|next| (next.map(Proto), served))
    })
}

impl Served {
    /// The next message. One that was told before is on its way by now.
    async fn next(&mut self) -> Result<Option<Carried>> {
        if let Some(sent) = self.sent.take() {
            sent.settle(Verdict::Ack).await?;
        }
        loop {
            let Some(delivery) = self.deliveries.next().await? else { return Ok(None) };
            match Carried::new(&delivery.delivered.message) {
                Ok(carried) => {
                    self.sent = Some(delivery);
                    return Ok(Some(carried));
                }
                Err(error) => {
                    tracing::warn!(%error, "a message is not delivered");
                    delivery.settle(Verdict::Reject(error.detail().to_owned())).await?;
                }
            }
        }
    }
}
