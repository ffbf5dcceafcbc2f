//! A durable broker between processes that are killed: nothing that was published is lost, and whoever is left goes on.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![cfg(unix)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use micro::Code;
use micro::broker::{Broker, Durable, Message, Start, Subscription, Verdict};
use micro::resilience::Backoff;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

const FOLDER: &str = "MICRO_TEST_DATA_FOLDER";
const PATIENCE: Duration = Duration::from_secs(60);

fn subscription() -> Subscription {
    let mut subscription = Subscription::new("orders");
    subscription.queue = Some("billing".into());
    subscription.start = Start::First;
    subscription.max_attempts = 100;
    subscription.lease = Duration::from_secs(1);
    subscription
}

/// Takes messages and says so, until it is killed.
#[tokio::test]
#[ignore = "started by the tests below, as a process of its own"]
async fn consumer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let broker = Durable::new(folder);
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody reads");
    };
    say("MARK ready".into());
    let mut failures = 0;
    loop {
        let mut deliveries = match broker.subscribe(subscription()).await {
            Ok(deliveries) => deliveries,
            Err(error) => {
                failures += 1;
                assert!(failures < 100, "{error}");
                tokio::time::sleep(Backoff::Jittered.wait(1)).await;
                continue;
            }
        };
        while let Ok(Some(delivery)) = deliveries.next().await {
            let body = String::from_utf8_lossy(&delivery.delivered.message.body).into_owned();
            say(format!("MARK got {body} {}", delivery.delivered.attempt));
            if delivery.settle(Verdict::Ack).await.is_ok() {
                say(format!("MARK done {body}"));
            }
        }
    }
}

/// A consumer as a process, whose lines go to `lines`.
fn start(folder: &std::path::Path, lines: UnboundedSender<String>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--ignored", "--exact", "consumer", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("it starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = output.next_line().await {
            // The test's own name may stand before it, on the same line.
            if let Some((_, said)) = line.split_once("MARK ") {
                let _ = lines.send(said.to_owned());
            }
        }
    });
    child
}

/// What consumers have said.
#[derive(Default)]
struct Ledger {
    attempts: BTreeMap<String, BTreeSet<u32>>,
    done: BTreeSet<String>,
}

impl Ledger {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["got", body, attempt] => {
                let attempt = attempt.parse().expect("a number");
                let attempts = self.attempts.entry(body.to_owned()).or_default();
                assert!(attempts.insert(attempt), "attempt {attempt} of {body} was made twice");
            }
            ["done", body] => {
                self.done.insert(body.to_owned());
            }
            _ => {}
        }
    }
}

async fn until(
    ledger: &mut Ledger,
    lines: &mut UnboundedReceiver<String>,
    is_enough: impl Fn(&Ledger) -> bool,
) {
    let wait = async {
        while !is_enough(ledger) {
            ledger.note(&lines.recv().await.expect("a sender"));
        }
    };
    let waited = timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "after {PATIENCE:?}, {} are done", ledger.done.len());
}

#[tokio::test]
async fn whoever_is_killed_what_was_published_is_delivered() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, mut lines) = unbounded_channel();
    let mut consumers = Vec::new();
    for _ in 0..2 {
        consumers.push(start(folder.path(), sender.clone()));
        assert_eq!(timeout(PATIENCE, lines.recv()).await.ok().flatten().as_deref(), Some("ready"));
    }
    let broker = Durable::new(folder.path());
    let mut ledger = Ledger::default();
    let mut published = BTreeSet::new();
    for round in 0..6 {
        for number in 0..15 {
            let body = format!("{round}-{number}");
            let mut message = Message::new("orders", body.clone());
            message.id = Some(body.clone());
            for again in 0.. {
                match broker.publish(message.clone()).await {
                    Ok(()) => break,
                    Err(error) => assert!(again < 100, "{error}"),
                }
            }
            published.insert(body);
            if number == 7 {
                // Killed by the system, without a word: one of them owns the folder, or this process does by now.
                let mut killed = consumers.remove(0);
                killed.kill().await.expect("it ends");
                consumers.push(start(folder.path(), sender.clone()));
            }
        }
    }
    // One that was killed may have settled a message, and not have said so any more.
    let is_handled =
        |ledger: &Ledger| published.iter().all(|body| ledger.attempts.contains_key(body));
    until(&mut ledger, &mut lines, is_handled).await;
    assert!(ledger.done.len() > published.len() / 2, "{} are done", ledger.done.len());
    // The folder is this process's, or one of theirs; when all have ended, it is in order.
    for mut consumer in consumers {
        consumer.kill().await.expect("it ends");
    }
    broker.close().await.expect("closes");
    let after = Durable::new(folder.path());
    let mut everything = Subscription::new("orders");
    everything.start = Start::First;
    everything.max_in_flight = 1000;
    let mut deliveries = after.subscribe(everything).await.expect("subscribes");
    let mut found = BTreeSet::new();
    after.publish(Message::new("orders", "the end")).await.expect("published");
    loop {
        let delivery = timeout(PATIENCE, deliveries.next()).await.expect("in time");
        let delivery = delivery.expect("goes on").expect("a message");
        let body = String::from_utf8_lossy(&delivery.delivered.message.body).into_owned();
        delivery.settle(Verdict::Ack).await.expect("settled");
        if body == "the end" {
            break;
        }
        assert!(found.insert(body.clone()), "{body} is there twice");
    }
    assert_eq!(found, published);
}

#[tokio::test]
async fn one_that_is_stopped_loses_its_messages_to_another_and_wakes_to_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let owner = Durable::new(folder.path());
    owner
        .publish(Message::new("other", "so that this process owns the folder"))
        .await
        .expect("published");
    let (sender, mut lines) = unbounded_channel();
    let stopped = start(folder.path(), sender);
    assert_eq!(timeout(PATIENCE, lines.recv()).await.ok().flatten().as_deref(), Some("ready"));
    let mut ledger = Ledger::default();
    owner.publish(Message::new("orders", "first")).await.expect("published");
    until(&mut ledger, &mut lines, |ledger| ledger.done.contains("first")).await;
    signal(&stopped, "-STOP").await;
    owner.publish(Message::new("orders", "second")).await.expect("published");
    let mut deliveries = owner.subscribe(subscription()).await.expect("subscribes");
    let delivery = timeout(PATIENCE, deliveries.next()).await.expect("in time");
    let delivery = delivery.expect("goes on").expect("a message");
    assert_eq!(&delivery.delivered.message.body[..], b"second");
    delivery.settle(Verdict::Ack).await.expect("settled");
    signal(&stopped, "-CONT").await;
    owner.publish(Message::new("orders", "third")).await.expect("published");
    // Either gets it, and it is the only one that is left.
    let next = timeout(PATIENCE, deliveries.next());
    tokio::select! {
        delivery = next => {
            let delivery = delivery.expect("in time").expect("goes on").expect("a message");
            assert_eq!(&delivery.delivered.message.body[..], b"third");
            delivery.settle(Verdict::Ack).await.expect("settled");
        }
        () = until(&mut ledger, &mut lines, |ledger| ledger.done.contains("third")) => {}
    }
}

async fn signal(process: &Child, name: &str) {
    let pid = process.id().expect("it runs").to_string();
    let status = Command::new("kill").args([name, &pid]).status().await.expect("kill");
    assert!(status.success());
}

#[tokio::test]
async fn an_owner_that_is_stopped_is_noticed_and_taken_over_once_it_has_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, mut lines) = unbounded_channel();
    let mut owner = start(folder.path(), sender);
    assert_eq!(timeout(PATIENCE, lines.recv()).await.ok().flatten().as_deref(), Some("ready"));
    let process = format!("process {}", owner.id().expect("it runs"));
    let owns = async {
        // As the file says in which an owner writes who it is.
        let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = || std::fs::read_to_string(folder.path().join("owner")).unwrap_or_default();
        while !words(said()).contains(&process) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, owns).await.expect("it owns the folder");
    let broker = Durable::new(folder.path());
    let mut ledger = Ledger::default();
    broker.publish(Message::new("orders", "first")).await.expect("published");
    until(&mut ledger, &mut lines, |ledger| ledger.done.contains("first")).await;
    let mut mine = Subscription::new("mine");
    mine.start = Start::First;
    let mut deliveries = broker.subscribe(mine.clone()).await.expect("subscribes");
    signal(&owner, "-STOP").await;
    // Nothing that waits for it waits for ever, and who it is gets told.
    let ended = timeout(PATIENCE, deliveries.next()).await.expect("it is noticed");
    assert_eq!(ended.expect_err("no owner").code(), Code::Unavailable);
    let mut identified = Message::new("mine", "second");
    identified.id = Some("second".into());
    let published = timeout(PATIENCE, broker.publish(identified.clone())).await.expect("it ends");
    let error = published.expect_err("no owner");
    assert!(error.code() == Code::Unavailable && error.detail().contains(&process), "{error}");
    let subscribed = timeout(PATIENCE, broker.subscribe(mine.clone())).await.expect("it ends");
    let error = subscribed.map(drop).expect_err("no owner");
    assert!(error.code() == Code::Unavailable && error.detail().contains(&process), "{error}");
    owner.kill().await.expect("it ends");
    // For a moment, what was found before is believed.
    let taking_over = async {
        while let Err(error) = broker.publish(identified.clone()).await {
            assert_eq!(error.code(), Code::Unavailable, "{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, taking_over).await.expect("this process owns the folder");
    let mut deliveries = broker.subscribe(mine).await.expect("subscribes");
    let delivery = timeout(PATIENCE, deliveries.next()).await.expect("in time");
    let delivery = delivery.expect("goes on").expect("a message");
    assert_eq!(&delivery.delivered.message.body[..], b"second");
    delivery.settle(Verdict::Ack).await.expect("settled");
}
