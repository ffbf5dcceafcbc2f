//! The owner of a data folder serves its messages to the other processes of the machine.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered, Stream};

use super::admin::{ADMIN, Answer, Ask};
use super::engine::Engine;
use super::options::ABILITIES;
use super::publishing::FRAMES;
use super::wire::{
    Attempt, Done, Failed, Frame, FromConsumer, Lent, PUBLISH, PUBLISHING, Publish, SUBSCRIBE,
    Said, Taken, ToConsumer, Told, nonsense,
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
pub(crate) fn served(engine: &Arc<Engine>) -> [Endpoint; 4] {
    let [publish, subscribe, admin] = endpoints(engine);
    [publish, subscribe, admin, publishing(engine.clone())]
}

/// Takes what other processes of this machine publish, many messages at once.
fn publishing(engine: Arc<Engine>) -> Endpoint {
    Endpoint::bidi_stream(PUBLISHING, move |_: Context, frames: Streaming<Proto<Frame>>| {
        let engine = engine.clone();
        let begun = stream::once(async { Ok(Proto(Taken::default())) });
        let frames = stream::unfold(frames, |mut frames| async {
            frames.message().await.transpose().map(|frame| (frame, frames))
        });
        let taken = frames.map(move |frame| {
            let engine = engine.clone();
            async move { Ok(Proto(take(&engine, frame?.0).await)) }
        });
        async { Ok(begun.chain(taken.buffered(FRAMES))) }
    })
}

/// Publishes the messages of a frame.
async fn take(engine: &Engine, frame: Frame) -> Taken {
    let (mut messages, mut failed) = (Vec::new(), Vec::new());
    for (nth, publish) in frame.messages.into_iter().enumerate() {
        match publish.message() {
            Ok(message) => messages.push((nth, message)),
            Err(error) => failed.push(Failed::new(nth, &error)),
        }
    }
    for (nth, error) in engine.publish_all(messages).await {
        failed.push(Failed::new(nth, &error));
    }
    failed.sort_unstable_by_key(|failed| failed.nth);
    Taken { failed }
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
