//! Messages of a data folder that another process of the machine owns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::admin::{ADMIN, Answer, Ask};
use super::publishing::Publishing;
use super::wire::{
    Attempt, Done, FromConsumer, Lent, PUBLISH, Publish, SUBSCRIBE, Said, Settled, ToConsumer,
    Told, Wanted, nonsense,
};
use crate::broker::stored::time;
use crate::broker::{Deliveries, Delivery, Message, Settle, Subscription, Verdict};
use crate::client::Outgoing;
use crate::codec::{Json, Proto};
use crate::data::Link;
use crate::error::{Code, Error, Result};
use crate::streaming::Streaming;

/// The most time for a question about the folder, which may read all of its indexes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the last verdicts of a subscription that ends are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Link {
    pub(super) async fn publish(&self, message: &Message) -> Result<()> {
        let publish = Publish::new(message);
        if let Some(publishing) = self.publishing.as_ref().filter(|_| Publishing::takes(&publish)) {
            return publishing.publish(publish).await;
        }
        let publish = Proto(publish);
        // What is published by a handler is not cut off with its call.
        let call = self.client.call(&self.service, PUBLISH, publish).detached().retries(0);
        let Proto(Done {}) = call.await?;
        Ok(())
    }

    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answer> {
        let call = self.client.call(&self.service, ADMIN, Json(ask.clone())).detached();
        let Json(answer) = call.timeout(PATIENCE).retries(0).await?;
        Ok(answer)
    }

    pub(super) async fn subscribe(&self, subscription: &Subscription) -> Result<Received> {
        let stream = self.client.open(&self.service, SUBSCRIBE).detached().no_timeout();
        let (outgoing, mut told) = stream.await?;
        let outgoing: Outgoing<Proto<FromConsumer>> = outgoing;
        outgoing.send(said(Said::Subscribe(Wanted::new(subscription, self.process)))).await?;
        match told.message().await? {
            Some(Proto(ToConsumer { told: Some(Told::Subscribed(_)) })) => {}
            _ => return Err(nonsense("the owner of the data folder did not begin as it should")),
        }
        let (sender, messages) = mpsc::channel(subscription.max_in_flight);
        let way = Arc::new(Way { outgoing, waiting: Mutex::new(Some(HashMap::new())) });
        let reading = tokio::spawn(read(told, sender, way.clone()));
        let topic = subscription.topic.clone();
        let reading = Some(AbortOnDropHandle::new(reading));
        Ok(Received { topic, messages, way, reading })
    }
}

/// The way back of a subscription.
struct Way {
    outgoing: Outgoing<Proto<FromConsumer>>,
    /// Verdicts that are not written down yet; none after the end.
    waiting: Mutex<Option<Waiting>>,
}

/// Those who wait for their verdicts to be written down.
type Waiting = HashMap<Attempt, oneshot::Sender<()>>;

impl Way {
    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when the owner has written down every verdict.
    fn is_settled(&self) -> bool {
        self.waiting().as_ref().is_none_or(HashMap::is_empty)
    }
}

/// Ends those who wait, however the reading ends.
struct Over(Arc<Way>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.waiting().take();
    }
}

/// Reads what the owner tells, until it ends.
async fn read(
    mut told: Streaming<Proto<ToConsumer>>,
    sender: mpsc::Sender<Result<Lent>>,
    way: Arc<Way>,
) {
    let _over = Over(way.clone());
    loop {
        match told.message().await {
            Ok(Some(Proto(ToConsumer { told: Some(Told::Message(lent)) }))) => {
                // What comes for nobody is another's once the subscription has ended.
                if sender.send(Ok(lent)).await.is_err() && way.is_settled() {
                    break;
                }
            }
            Ok(Some(Proto(ToConsumer { told: Some(Told::Settled(attempt)) }))) => {
                let done = way.waiting().as_mut().and_then(|waiting| waiting.remove(&attempt));
                if let Some(done) = done {
                    let _ = done.send(());
                }
                if sender.is_closed() && way.is_settled() {
                    break;
                }
            }
            Ok(Some(_)) => {
                let _ = sender.send(Err(nonsense("the owner said something unknown"))).await;
                break;
            }
            Ok(None) => break,
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                break;
            }
        }
    }
}

/// A subscription by way of the owner.
pub(super) struct Received {
    topic: String,
    messages: mpsc::Receiver<Result<Lent>>,
    way: Arc<Way>,
    reading: Option<AbortOnDropHandle<()>>,
}

impl Drop for Received {
    fn drop(&mut self) {
        self.messages.close();
        let Some(reading) = self.reading.take().filter(|_| !self.way.is_settled()) else { return };
        // Verdicts that are on their way count.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(LAST_WORDS, reading));
        }
    }
}

#[async_trait]
impl Deliveries for Received {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        let Some(lent) = self.messages.recv().await.transpose()? else {
            return Err(Error::new(Code::Unavailable, "the owner of the data folder has ended"));
        };
        let attempt = lent.attempt;
        let published = time(lent.published).unwrap_or_else(SystemTime::now);
        let message = lent.message(&self.topic)?;
        let settle = Box::new(Borrowed { way: self.way.clone(), attempt, is_settled: false });
        let Attempt { sequence, attempt } = attempt;
        Ok(Some(Delivery::new(message, attempt, Some(sequence), published, settle)))
    }
}

struct Borrowed {
    way: Arc<Way>,
    attempt: Attempt,
    is_settled: bool,
}

impl Borrowed {
    /// Sends something without waiting for it.
    fn tell(&self, said_now: Said) {
        let way = self.way.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { way.outgoing.send(said(said_now)).await });
        }
    }
}

#[async_trait]
impl Settle for Borrowed {
    async fn settle(mut self: Box<Self>, verdict: Verdict) -> Result<()> {
        let gone = || Error::new(Code::Unavailable, "the owner of the data folder has ended");
        let (done, settled) = oneshot::channel();
        self.way.waiting().as_mut().ok_or_else(gone)?.insert(self.attempt, done);
        self.is_settled = true;
        self.way.outgoing.send(said(Said::Settle(Settled::new(self.attempt, verdict)))).await?;
        settled.await.map_err(|_| gone())
    }

    fn extend(&self) {
        self.tell(Said::Extend(self.attempt));
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if !self.is_settled {
            let verdict = Verdict::Retry(Duration::ZERO, "its consumer gave it up".to_owned());
            self.tell(Said::Settle(Settled::new(self.attempt, verdict)));
        }
    }
}

fn said(said: Said) -> Proto<FromConsumer> {
    Proto(FromConsumer { said: Some(said) })
}
