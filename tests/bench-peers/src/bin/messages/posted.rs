//! go-micro's default broker, ours: messages are posted to subscribers of this process, and each is waited for.

use std::sync::{Arc, Mutex, PoisonError};

use bench_peers::load::{Caller, Drained};
use bench_peers::wire::{Payload, StreamRequest};
use bytes::Bytes;
use micro::broker::{Http, Subscription, Verdict};
use micro::registry::Memory;
use micro::{Client, Raw};
use tokio::sync::mpsc;

use crate::text::text;

/// A topic and what came of it.
struct Lane {
    topic: String,
    came: mpsc::Receiver<Bytes>,
}

#[derive(Clone)]
pub(crate) struct Posted {
    client: Client,
    free: Arc<Mutex<Vec<Lane>>>,
}

impl Posted {
    /// With so many topics, each of which has one message on its way at most.
    pub(crate) async fn new(topics: usize) -> Result<Self, String> {
        let client = Client::builder().environment(false).registry(Arc::new(Memory::new()));
        let client = client.broker(Arc::new(Http::new())).build().map_err(text)?;
        let mut free = Vec::new();
        for number in 0..topics {
            let topic = format!("topic-{number}");
            let mut messages = client.subscribe(Subscription::new(&topic)).await.map_err(text)?;
            let (sender, came) = mpsc::channel(1);
            tokio::spawn(async move {
                loop {
                    let delivery = messages.next().await;
                    let body = delivery.delivered.message.body.clone();
                    // Who waits for it is told once it is settled.
                    if delivery.settle(Verdict::Ack).await.is_err()
                        || sender.send(body).await.is_err()
                    {
                        break;
                    }
                }
            });
            free.push(Lane { topic, came });
        }
        Ok(Self { client, free: Arc::new(Mutex::new(free)) })
    }
}

impl Caller for Posted {
    async fn call(&self, request: Payload) -> Result<Payload, String> {
        let free = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lane = free().pop().ok_or("more messages at once than topics")?;
        self.client.publish(&lane.topic, Raw(request.body)).await.map_err(text)?;
        let body = lane.came.recv().await.ok_or("a subscriber has ended")?;
        free().push(lane);
        Ok(Payload { body })
    }

    async fn stream(&self, _: StreamRequest) -> Result<Drained, String> {
        Err("messages are posted one by one".to_owned())
    }
}
