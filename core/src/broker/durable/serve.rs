//! The owner of a data folder serves its messages to the other processes of the machine.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered, Stream};

use super::admin::{ADMIN, Answer, Ask};
use super::engine::Engine;
use super::options::ABILITIES;
use super::wire::{
    Attempt, Done, FromConsumer, Lent, PUBLISH, Publish, SUBSCRIBE, Said, ToConsumer, Told,
    nonsense,
};
use crate::broker::stored::millis;
use crate::broker::{Deliveries, Delivery, Message, Subscription};
use crate::codec::{Json, Proto};
use crate::context::Context;
use crate::error::Result;
use crate::middleware::BoxFuture;
use crate::server::Endpoint;
use crate::streaming::Streaming;

/// What takes and delivers messages for other processes.
pub(super) trait Serves: Clone + Send + Sync + 'static {
    /// Takes a message.
    fn take(&self, message: Message) -> impl Future<Output = Result<()>> + Send;

    /// Begins to deliver to a consumer of that process; 0 where it is none of this machine.
    fn deliver(
        &self,
        subscription: Subscription,
        process: u32,
    ) -> impl Future<Output = Result<Box<dyn Deliveries>>> + Send;

    /// Answers questions about the folder.
    fn answer(&self, ask: Ask) -> impl Future<Output = Result<Answer>> + Send;
}

impl Serves for Arc<Engine> {
    async fn take(&self, message: Message) -> Result<()> {
        self.publish(&message).await
    }

    async fn deliver(
        &self,
        subscription: Subscription,
        process: u32,
    ) -> Result<Box<dyn Deliveries>> {
        Ok(Box::new(self.subscribe_for(subscription, process).await?))
    }

    async fn answer(&self, ask: Ask) -> Result<Answer> {
        Engine::answer(self, ask).await
    }
}

/// What other processes call where this one owns the folder.
pub(crate) fn served(engine: &Arc<Engine>) -> [Endpoint; 3] {
    endpoints(engine)
}

/// What other processes call.
pub(super) fn endpoints<S: Serves>(serves: &S) -> [Endpoint; 3] {
    let publishing = serves.clone();
    let publish = Endpoint::unary(PUBLISH, move |_: Context, Proto(publish): Proto<Publish>| {
        let serves = publishing.clone();
        async move {
            serves.take(publish.message()?).await?;
            Ok(Proto(Done {}))
        }
    });
    let subscribing = serves.clone();
    let subscribe = Endpoint::bidi_stream(
        SUBSCRIBE,
        move |_: Context, said: Streaming<Proto<FromConsumer>>| {
            let serves = subscribing.clone();
            async move { deliver(&serves, said).await }
        },
    );
    let asked = serves.clone();
    let admin = Endpoint::unary(ADMIN, move |_: Context, Json(ask): Json<Ask>| {
        let serves = asked.clone();
        async move { serves.answer(ask).await.map(Json) }
    });
    [publish, subscribe, admin]
}

/// A consumer of another process.
struct Remote {
    taking: Box<dyn Deliveries>,
    said: Streaming<Proto<FromConsumer>>,
    /// What it was lent and has not settled.
    lent: HashMap<(u64, u32), Delivery>,
    /// Verdicts that are being written down.
    settling: FuturesUnordered<BoxFuture<(Attempt, Result<()>)>>,
}

async fn deliver<S: Serves>(
    serves: &S,
    mut said: Streaming<Proto<FromConsumer>>,
) -> Result<impl Stream<Item = Result<Proto<ToConsumer>>> + use<S>> {
    let Some(Proto(FromConsumer { said: Some(Said::Subscribe(wanted)) })) = said.message().await?
    else {
        return Err(nonsense("a consumer began with something else than its subscription"));
    };
    let process = wanted.process;
    let subscription = wanted.subscription();
    subscription.check("durable", ABILITIES)?;
    let taking = serves.deliver(subscription, process).await?;
    let settling = FuturesUnordered::new();
    let remote = Remote { taking, said, lent: HashMap::new(), settling };
    let subscribed = stream::once(async { Ok(told(Told::Subscribed(Done {}))) });
    let rest = stream::unfold(remote, |mut remote| async {
        remote.next().await.transpose().map(|told| (told, remote))
    });
    Ok(subscribed.chain(rest))
}

impl Remote {
    async fn next(&mut self) -> Result<Option<Proto<ToConsumer>>> {
        loop {
            tokio::select! {
                said = self.said.message() => match said? {
                    None => return Ok(None),
                    Some(Proto(FromConsumer { said: Some(Said::Settle(settled)) })) => {
                        let at = settled.attempt;
                        let delivery = self.lent.remove(&(at.sequence, at.attempt));
                        self.settling.push(Box::pin(async move {
                            let settled = match delivery {
                                Some(delivery) => delivery.settle(settled.verdict()).await,
                                // Of one whose lease has ended, nothing is known any more.
                                None => Ok(()),
                            };
                            (at, settled)
                        }));
                    }
                    Some(Proto(FromConsumer { said: Some(Said::Extend(at)) })) => {
                        if let Some(delivery) = self.lent.get(&(at.sequence, at.attempt)) {
                            delivery.extend();
                        }
                    }
                    Some(_) => return Err(nonsense("a consumer said something unknown")),
                },
                Some((at, settled)) = self.settling.next() => {
                    settled?;
                    return Ok(Some(told(Told::Settled(at))));
                }
                delivery = self.taking.next() => {
                    let Some(delivery) = delivery? else { return Ok(None) };
                    let delivered = &delivery.delivered;
                    let sequence = delivered.sequence.unwrap_or_default();
                    let at = Attempt { sequence, attempt: delivered.attempt };
                    let published = millis(delivered.published);
                    let lent = Lent::new(&delivered.message, at, published);
                    // An older attempt at the same message is over.
                    self.lent.retain(|(other, _), _| *other != sequence);
                    self.lent.insert((sequence, at.attempt), delivery);
                    return Ok(Some(told(Told::Message(lent))));
                }
            }
        }
    }
}

fn told(told: Told) -> Proto<ToConsumer> {
    Proto(ToConsumer { told: Some(told) })
}
