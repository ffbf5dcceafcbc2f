//! Subscriptions that do not move: what is told of them, and that it ends.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]
#![cfg(unix)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use micro::broker::{Broker, Durable, Memory, Message, Subscriber};
use micro::telemetry::QueueStats;
use micro::{Context, Json, Service, registry};
use tokio::sync::{Semaphore, mpsc};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata};

const PATIENCE: Duration = Duration::from_secs(30);

/// Tells of each record with the level it asks for or a higher one.
#[derive(Clone)]
struct Log(mpsc::UnboundedSender<String>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(format!("{} ", event.metadata().level()));
        event.record(&mut text);
        let _ = self.0.send(text.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

/// The next record of subscriptions that stall or move.
async fn told(log: &mut mpsc::UnboundedReceiver<String>) -> String {
    let next = async {
        loop {
            let text = log.recv().await.expect("a log");
            if text.contains("stalls") || text.contains("moves again") {
                return text;
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("it is told in time")
}

async fn until(stats: &QueueStats, is_so: impl Fn(&QueueStats) -> bool) {
    let wait = async {
        while !is_so(stats) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("in time");
}

/// A service whose handler hangs until it is let go, for the message that says so.
async fn hanging(broker: Arc<dyn Broker>) -> (Service, Arc<Semaphore>) {
    let release = Arc::new(Semaphore::new(0));
    let waiting = release.clone();
    let orders = Subscriber::new("orders", move |_: Context, Json(order): Json<u64>| {
        let waiting = waiting.clone();
        async move {
            if order == 13 {
                let _ = waiting.acquire().await;
            }
            Ok(())
        }
    });
    let service = Service::builder("billing")
        .registry(Arc::new(registry::Memory::new()))
        .address("127.0.0.1:0")
        .propagation(Duration::ZERO)
        .broker(broker)
        .subscriber(orders.queue("billing").lease(Duration::from_millis(100)));
    (service.start().await.expect("starts"), release)
}

/// That a stall is told once, with what one has to know, and so is its end.
async fn is_told(broker: Arc<dyn Broker>, has_numbers: bool) {
    let (sender, mut log) = mpsc::unbounded_channel();
    let _logging = tracing::subscriber::set_default(Log(sender));
    let (service, release) = hanging(broker.clone()).await;
    let publish = |order: u64| {
        let mut message = Message::new("orders", order.to_string());
        message.content_type = Some("application/json".into());
        let broker = broker.clone();
        tokio::spawn(async move { broker.publish(message).await })
    };
    publish(13);
    let stalled = told(&mut log).await;
    assert!(stalled.starts_with("WARN "), "{stalled}");
    for word in ["topic=\"orders\"", "queue=\"billing\"", "age=", "holder="] {
        assert!(stalled.contains(word), "{word} is not in {stalled}");
    }
    assert!(stalled.contains(&format!("process {}", std::process::id())), "{stalled}");
    assert_eq!(stalled.contains("sequence="), has_numbers, "{stalled}");
    let metrics = service.server().metrics().clone();
    let queues = metrics.queues();
    let [(name, stats)] = &queues[..] else { panic!("one queue, and not {queues:?}") };
    assert_eq!((&*name.topic, &*name.queue), ("orders", "billing"));
    until(stats, QueueStats::is_stalled).await;
    let (age, _) = stats.oldest().expect("it is held");
    assert!(age >= Duration::from_secs(1) && stats.held() == 1, "{age:?}");
    // Others are handled meanwhile, and nothing more is told of the one that is not.
    publish(1);
    until(stats, |stats| stats.acked() == 1).await;
    assert_eq!(metrics.queues_to_json()[0]["stalled"], true);
    release.add_permits(1);
    let moving = told(&mut log).await;
    assert!(moving.starts_with("INFO ") && moving.contains("moves again"), "{moving}");
    until(stats, |stats| !stats.is_stalled() && stats.acked() == 2).await;
    assert_eq!((stats.delivered(), stats.retried(), stats.dead(), stats.held()), (2, 0, 0, 0));
    service.stop().await.expect("stops");
}

#[tokio::test]
async fn a_handler_that_hangs_is_told_once_and_so_is_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    is_told(Arc::new(Durable::new(folder.path())), true).await;
}

#[tokio::test]
async fn a_handler_that_hangs_is_told_whatever_the_broker() {
    is_told(Arc::new(Memory::new()), false).await;
}
