//! Our client, with the broker of a URL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bench_peers::load::{Caller, Drained, Load};
use bench_peers::wire::{Payload, StreamRequest};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use micro::broker::{Broker, Start, Subscription, Verdict};
use micro::registry::Memory;
use micro::{Client, Raw};
use tokio::time::sleep;

use crate::text::text;

/// Messages of a subscription that are not settled yet.
const IN_FLIGHT: usize = 256;
/// Bytes at the beginning of a message that say when it was published.
pub(crate) const STAMP: usize = 8;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The broker.
    #[arg(long)]
    url: String,
    /// Topics that are published to by turns.
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// Milliseconds before each message in which nothing happens; each says then when it was published.
    #[arg(long)]
    pause: Option<u64>,
    /// Takes messages for as long as it runs with a handler that is never done with one.
    #[arg(long)]
    hang: bool,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Clone)]
pub(crate) struct Ours {
    client: Client,
    topics: Arc<[String]>,
    next: Arc<AtomicUsize>,
    queues: Arc<AtomicU64>,
    pause: Option<Duration>,
}

impl Ours {
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, String> {
        let client = client(&arguments.url)?;
        let topics = (0..arguments.topics.max(1)).map(|number| format!("topic-{number}"));
        let ours = Self {
            client,
            topics: topics.collect(),
            next: Arc::default(),
            queues: Arc::default(),
            pause: arguments.pause.map(Duration::from_millis),
        };
        if arguments.hang {
            tokio::spawn(hang(ours.client.clone(), ours.topics[0].clone()));
        }
        Ok(ours)
    }
}

/// A client with the broker of a URL, and nothing of the environment.
pub(crate) fn client(url: &str) -> Result<Client, String> {
    micro_nats::provide().map_err(text)?;
    let broker: Arc<dyn Broker> = micro::broker::connect(url).map_err(text)?;
    let client = Client::builder().environment(false).registry(Arc::new(Memory::new()));
    client.broker(broker).build().map_err(text)
}

/// Takes as many as it gets, one each half second, and is done with none of them.
async fn hang(client: Client, topic: String) {
    let mut subscription = Subscription::new(topic);
    subscription.queue = Some("slow".to_owned());
    subscription.start = Start::First;
    let Ok(mut messages) = client.subscribe(subscription).await else { return };
    let mut held = Vec::new();
    loop {
        held.push(messages.next().await);
        sleep(Duration::from_millis(500)).await;
    }
}

impl Caller for Ours {
    /// Publishes a message.
    async fn call(&self, request: Payload) -> Result<Payload, String> {
        let topic = self.next.fetch_add(1, Ordering::Relaxed) % self.topics.len();
        let body = match self.pause {
            Some(pause) => {
                sleep(pause).await;
                stamped(&request.body)
            }
            None => request.body.clone(),
        };
        self.client.publish(&self.topics[topic], Raw(body)).await.map_err(text)?;
        Ok(request)
    }

    /// A new group takes what is there, and is done with each.
    async fn stream(&self, request: StreamRequest) -> Result<Drained, String> {
        let mut subscription = Subscription::new(&self.topics[0]);
        let number = self.queues.fetch_add(1, Ordering::Relaxed);
        subscription.queue = Some(format!("group-{}-{number}", std::process::id()));
        subscription.start = Start::First;
        subscription.max_in_flight = IN_FLIGHT;
        let mut messages = self.client.subscribe(subscription).await.map_err(text)?;
        let (mut drained, mut settling) = (Drained::default(), FuturesUnordered::new());
        while drained.messages < u64::from(request.count) {
            tokio::select! {
                delivery = messages.next() => {
                    let body = delivery.delivered.message.body.clone();
                    drained.add(&Payload { body });
                    settling.push(delivery.settle(Verdict::Ack));
                }
                Some(settled) = settling.next() => settled.map_err(text)?,
            }
        }
        while let Some(settled) = settling.next().await {
            settled.map_err(text)?;
        }
        Ok(drained)
    }
}

/// The same with the time at its beginning, in nanoseconds since 1970.
fn stamped(body: &Bytes) -> Bytes {
    let mut stamped = body.to_vec();
    if let Some(stamp) = stamped.get_mut(..STAMP) {
        stamp.copy_from_slice(&nanoseconds().to_be_bytes());
    }
    stamped.into()
}

/// Since 1970, the same for all processes of the machine.
pub(crate) fn nanoseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
