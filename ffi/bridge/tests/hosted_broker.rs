//! A broker that a host provides keeps the contract of brokers, as far as it says that it can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bytes::Bytes;
use micro_bridge::core::broker::contract::Subject;
use micro_bridge::core::broker::{
    self, Broker, Delivery, Durable, Memory, Message, Start, Subscription, Verdict,
};
use micro_bridge::core::{Error, Result};
use micro_bridge::provided::{self, PUBLISH, abilities, area};
use micro_bridge::{
    Client, Event, EventKind, Headers, Id, Question, Queue, Runtime, Status, operations, unpack,
    verdict,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const ALL: u32 = abilities::REDELIVERS
    | abilities::PERSISTS
    | abilities::REPLAYS
    | abilities::DELAYS
    | abilities::ORDERS_BY_KEY
    | abilities::EXPIRES
    | abilities::DEDUPLICATES
    | abilities::PRIORITIZES;

/// A host of its own thread: it hands everything on to a durable broker, by way of JSON, as a host of another language would.
struct House {
    runtime: Runtime,
    queue: Arc<Queue>,
    inside: Durable,
    /// What is said of the messages of each subscription.
    said: Mutex<HashMap<Id, mpsc::UnboundedSender<Bytes>>>,
}

fn time(millis: &Value) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_millis(millis.as_u64()?))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

impl House {
    async fn publish(&self, question: &Event, args: &Value) -> Result<()> {
        let mut message = Message::new(args["topic"].as_str().unwrap(), question.payload.clone());
        message.headers = unpack(&question.meta).unwrap();
        message.headers.remove(provided::ARGS);
        message.content_type = text(&args["type"]);
        message.key = text(&args["key"]);
        message.id = text(&args["id"]);
        message.priority = args["priority"].as_u64().unwrap_or_default() as u8;
        message.due = time(&args["due"]);
        message.expires = time(&args["expires"]);
        self.inside.publish(message).await
    }

    async fn subscribe(
        &self,
        id: Id,
        args: &Value,
        mut said: mpsc::UnboundedReceiver<Bytes>,
    ) -> Result<()> {
        let mut subscription = Subscription::new(args["topic"].as_str().unwrap());
        subscription.queue = text(&args["queue"]);
        subscription.start = match &args["start"] {
            Value::Object(start) => match (start.get("sequence"), start.get("time")) {
                (Some(sequence), _) => Start::Sequence(sequence.as_u64().unwrap()),
                (_, at) => Start::Time(time(at.unwrap()).unwrap()),
            },
            start if start == "first" => Start::First,
            _ => Start::New,
        };
        subscription.max_in_flight = args["max_in_flight"].as_u64().unwrap() as usize;
        subscription.max_attempts = args["max_attempts"].as_u64().unwrap() as u32;
        subscription.lease = Duration::from_millis(args["lease"].as_u64().unwrap());
        subscription.dead_letters = text(&args["dead_letters"]);
        let mut deliveries = self.inside.subscribe(subscription).await?;
        self.runtime.send(id, Bytes::new(), false).unwrap();
        let mut out = HashMap::new();
        let mut next = 0_u64;
        loop {
            tokio::select! {
                delivery = deliveries.next() => {
                    let Some(delivery) = delivery? else { return Ok(()) };
                    next += 1;
                    if self.runtime.send(id, told(next, &delivery), false).is_err() {
                        return Ok(());
                    }
                    out.insert(next, delivery);
                }
                verdict = said.recv() => match verdict {
                    Some(verdict) => {
                        if let Some(settled) = settle(&mut out, &verdict).await? {
                            let head = json!({ "settled": settled }).to_string().into_bytes();
                            let _ = self.runtime.send(id, headed(&head, b""), false);
                        }
                    }
                    None => return Ok(()),
                },
            }
        }
    }
}

fn told(number: u64, delivery: &Delivery) -> Bytes {
    let (known, message) = (&delivery.delivered, &delivery.delivered.message);
    let mut headers: HashMap<String, Vec<String>> = HashMap::new();
    for (name, value) in message.headers.values() {
        let value = match name.ends_with("-bin") {
            true => BASE64.encode(&value),
            false => String::from_utf8(value.to_vec()).unwrap(),
        };
        headers.entry(name.to_owned()).or_default().push(value);
    }
    let published = known.published.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let head = json!({
        "delivery": number, "attempt": known.attempt, "sequence": known.sequence, "published": published,
        "type": message.content_type, "key": message.key, "id": message.id, "priority": message.priority,
        "headers": headers,
    });
    let head = head.to_string().into_bytes();
    headed(&head, &message.body)
}

fn headed(head: &[u8], body: &[u8]) -> Bytes {
    [&(head.len() as u32).to_le_bytes()[..], head, body].concat().into()
}

async fn settle(out: &mut HashMap<u64, Delivery>, verdict: &[u8]) -> Result<Option<u64>> {
    let said: Value = serde_json::from_slice(verdict).unwrap();
    let number = said["delivery"].as_u64().unwrap();
    let reason = || text(&said["reason"]).unwrap();
    let verdict = match said["verdict"].as_str().unwrap() {
        "ack" => Verdict::Ack,
        "retry" => Verdict::Retry(Duration::from_millis(said["delay"].as_u64().unwrap()), reason()),
        "reject" => Verdict::Reject(reason()),
        "extend" => {
            out[&number].extend();
            return Ok(None);
        }
        other => panic!("no verdict: {other}"),
    };
    out.remove(&number).expect("one that is out").settle(verdict).await?;
    Ok(Some(number))
}

fn args(question: &Event) -> Value {
    let mut entries = Headers::new(&question.meta);
    let found = entries.find(|(name, _)| *name == provided::ARGS.as_bytes());
    serde_json::from_slice(found.expect("arguments").1).unwrap()
}

async fn answer(house: Arc<House>, question: Event, said: Option<mpsc::UnboundedReceiver<Bytes>>) {
    let (args, id) = (args(&question), question.id);
    let answer = match said {
        Some(said) => house.subscribe(id, &args, said).await,
        None => house.publish(&question, &args).await,
    };
    let _ = house.runtime.reply(id, answer.map(|()| Bytes::new()), &[]);
}

/// Provides a durable broker as one of the host's own; its URL.
fn provide(runtime: &Runtime, folder: std::path::PathBuf) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!("broker-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let queue = runtime.new_queue().unwrap();
    runtime.provide(area::BROKER | ALL, &name, &queue, 1).unwrap();
    let (runtime, inside) = (runtime.clone(), Durable::new(folder));
    let house = Arc::new(House { runtime, queue, inside, said: Mutex::default() });
    std::thread::spawn(move || {
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut open = true;
        while open {
            house.queue.wait(64, None, |event| match event.kind {
                EventKind::Call => {
                    let mut receiver = None;
                    if event.method == operations::BROKER_SUBSCRIBE {
                        let (sender, said) = mpsc::unbounded_channel();
                        house.said.lock().unwrap().insert(event.id, sender);
                        house.runtime.grant(event.id, 1 << 20).unwrap();
                        receiver = Some(said);
                    } else {
                        assert_eq!(event.method, PUBLISH);
                    }
                    tokio.spawn(answer(house.clone(), event, receiver));
                }
                EventKind::Message => {
                    if let Some(said) = house.said.lock().unwrap().get(&event.id) {
                        let _ = said.send(event.payload);
                    }
                }
                EventKind::CallCancelled | EventKind::End => {
                    house.said.lock().unwrap().remove(&event.id);
                }
                EventKind::Closed => open = false,
                _ => {}
            });
        }
    });
    format!("host://{name}")
}

/// One runtime for all tests of the process, which ends with it.
fn runtime() -> &'static Runtime {
    static RUNTIME: std::sync::LazyLock<Runtime> =
        std::sync::LazyLock::new(|| Runtime::new(r#"{"workers": 2}"#).unwrap());
    &RUNTIME
}

micro_bridge::core::broker_contract!(|| {
    let folder = tempfile::tempdir().unwrap();
    let url = provide(runtime(), folder.path().to_owned());
    let mut subject = Subject::new(Memory::new(), Memory::new()).keeping(folder);
    subject.publisher = broker::connect(&url).unwrap();
    subject.subscriber = broker::connect(&url).unwrap();
    subject
});

#[test]
fn what_it_does_not_say_it_can_is_refused_before_it_is_asked() {
    let queue = runtime().new_queue().unwrap();
    runtime().provide(area::BROKER, "plain", &queue, 1).unwrap();
    let plain = broker::connect("host://plain").unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let delayed = Message::new("orders", "7").delay(Duration::from_secs(1));
    let error = tokio.block_on(plain.publish(delayed)).unwrap_err();
    assert!(error.detail().contains("the broker host does not know a delay"), "{error}");
    assert!(queue.is_empty());
    let failure = runtime().provide(area::BROKER | 1 << 16, "odd", &queue, 1).unwrap_err();
    assert_eq!(failure.status(), Status::ARG);
    let failure = runtime().provide(area::REGISTRY | ALL, "odd", &queue, 1).unwrap_err();
    assert_eq!(failure.status(), Status::ARG);
    let gone: Result<Error> = broker::connect("host://nothing").map(|_| panic!("nothing is there"));
    assert!(gone.unwrap_err().detail().contains("provide it first"));
}

#[test]
fn a_verdict_that_a_host_never_answers_keeps_no_runtime_from_ending() {
    let runtime = Runtime::new(r#"{"workers": 2}"#).unwrap();
    let (hosting, own) = (runtime.new_queue().unwrap(), runtime.new_queue().unwrap());
    runtime.provide(area::BROKER | abilities::REDELIVERS, "deaf", &hosting, 1).unwrap();
    let next = |queue: &Queue, kind: EventKind| loop {
        let mut got = None;
        queue.wait(1, Some(Duration::from_secs(20)), |event| got = Some(event));
        let event = got.expect("an event in time");
        if event.kind == kind {
            return event;
        }
    };
    let options = r#"{"registry": "memory://deaf", "broker": "host://deaf"}"#;
    let client = Client::new(&runtime, options).unwrap();
    let asked = Question {
        operation: operations::BROKER_SUBSCRIBE,
        args: r#"{"topic": "orders"}"#,
        ..Question::default()
    };
    let orders = client.follow(&own, asked, 2).unwrap();
    let call = next(&hosting, EventKind::Call).id;
    runtime.grant(call, 8).unwrap();
    runtime.send(call, Bytes::new(), false).unwrap();
    next(&own, EventKind::Opened);
    runtime.grant(orders, 1).unwrap();
    runtime.send(call, headed(br#"{"delivery": 1}"#, b"7"), false).unwrap();
    let lent = next(&own, EventKind::Delivery);
    runtime.settle(lent.id, verdict::ACK, 0, "").unwrap();
    next(&hosting, EventKind::Message);
    runtime.cancel(orders).unwrap();
    let (ended, ends) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime.free();
        ended.send(()).unwrap();
    });
    ends.recv_timeout(Duration::from_secs(20)).expect("it ends");
}
