//! Jobs: once in a fleet, whoever dies, or once on each node.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![cfg(unix)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use micro::broker::{Broker as _, Durable, Message, Start, Subscription, Verdict};
use micro::jobs::{Job, Missed, Outcome, Running, Scope, Status};
use micro::resilience::Backoff;
use micro::testing::Fleet;
use micro::{Code, Context, Error, Json, Result, Service};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

/// Says on which node which run was begun.
type Begun = (String, Running);

/// A job that says what it runs.
fn reporting(begun: &UnboundedSender<Begun>) -> impl Fn(Context) -> Ready + Send + Sync + 'static {
    let begun = begun.clone();
    move |context| {
        let node = context.service_handle().expect("a service").node().id;
        let job = context.job().expect("a run").as_ref().clone();
        std::future::ready(begun.send((node, job)).map_err(|_| Error::internal("nobody listens")))
    }
}

type Ready = std::future::Ready<Result<()>>;

async fn next(begun: &mut UnboundedReceiver<Begun>) -> Begun {
    timeout(SOON, begun.recv()).await.expect("a run in time").expect("a sender")
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// Starts a node of the service `shop`.
async fn node(fleet: &Fleet, broker: &Durable, id: &str, job: Job) -> Service {
    let service = Service::builder("shop").id(id).job(job);
    fleet.service(service).broker(Arc::new(broker.clone())).start().await.expect("it starts")
}

/// The only job of a node, once it is as expected.
async fn status(service: &Service, is_it: impl Fn(&Status) -> bool) -> Status {
    let wait = async {
        loop {
            let status = service.jobs().remove(0);
            if is_it(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{:?}", service.jobs()))
}

/// A schedule whose last moment was half an hour ago, whenever this runs, and that moment in minutes since 1970.
fn half_an_hour_ago() -> (String, u64) {
    let minute = millis(SystemTime::now()) / 60_000;
    (format!("{} * * * *", (minute + 30) % 60), minute - 30)
}

/// Writes down that a job of `shop` runs by this schedule since so many hours.
async fn announced(broker: &Durable, job: &str, expression: &str, hours: u64) {
    let since = millis(SystemTime::now()) - hours * 3_600_000;
    let record =
        json!({"record": "schedule", "text": format!("cron UTC {expression}"), "since": since});
    let topic = format!("jobs.runs.shop.{job}");
    broker.publish(Message::new(topic, record.to_string())).await.expect("it is published");
}

#[tokio::test]
async fn each_run_of_a_fleet_is_begun_by_one_node_and_none_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let (fleet, broker) = (Fleet::new(), Durable::new(folder.path()));
    let (sender, mut begun) = unbounded_channel();
    let job = || Job::every("1s", reporting(&sender)).name("tick").missed(Missed::All(10));
    let mut nodes = Vec::new();
    for id in ["a", "b", "c"] {
        nodes.push(node(&fleet, &broker, id, job()).await);
    }
    let mut times = Vec::new();
    let mut runners = BTreeSet::new();
    for run in 0..8 {
        let (runner, running) = next(&mut begun).await;
        times.push(millis(running.time));
        runners.insert(runner);
        assert_eq!(running.attempt, 1);
        // One leaves without a word, another as it should.
        match run {
            2 => drop(nodes.pop()),
            4 => nodes.pop().expect("a node").stop().await.expect("it stops"),
            _ => {}
        }
    }
    let first = times[0];
    assert_eq!(times, (0..8).map(|run| first + run * 1000).collect::<Vec<_>>());
    assert!(runners.len() > 1, "{runners:?}");
    let status = status(&nodes[0], |status| status.runs.len() >= 8).await;
    assert_eq!((status.scope, status.schedule.as_str()), (Scope::Fleet, "every 1s"));
    for (run, time) in status.runs.iter().zip(times).take(7) {
        assert_eq!((millis(run.time), run.outcome, run.attempt), (time, Outcome::Done, 1));
    }
}

#[tokio::test]
async fn of_many_messages_for_one_moment_one_is_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let (fleet, broker) = (Fleet::new(), Durable::new(folder.path()));
    let (sender, mut begun) = unbounded_channel();
    let (expression, last) = half_an_hour_ago();
    let job = || Job::cron(&*expression, reporting(&sender)).name("x").missed(Missed::Once);
    announced(&broker, "x", &expression, 24).await;
    let text = format!("cron UTC {expression}");
    for copy in 0..10 {
        let moment =
            json!({"job": "x", "time": last * 60_000, "schedule": text, "copy": copy.to_string()});
        let topic = "jobs.moments.shop.x";
        broker.publish(Message::new(topic, moment.to_string())).await.expect("published");
    }
    let a = node(&fleet, &broker, "a", job()).await;
    let _b = node(&fleet, &broker, "b", job()).await;
    assert_eq!(millis(next(&mut begun).await.1.time), last * 60_000);
    // A queue that is empty has handed out all ten.
    let mut all = Subscription::new("jobs.runs.shop.x");
    all.start = Start::First;
    let mut records = broker.subscribe(all).await.expect("subscribed");
    let mut claims = 0;
    while claims < 10 {
        let record =
            timeout(SOON, records.next()).await.expect("in time").expect("no error").expect("one");
        let told: Value = serde_json::from_slice(&record.delivered.message.body).expect("JSON");
        claims += u32::from(told["record"] == "claim");
        record.settle(Verdict::Ack).await.expect("settled");
    }
    assert!(begun.try_recv().is_err(), "a moment was run twice");
    let status =
        status(&a, |status| status.runs.iter().all(|run| run.outcome == Outcome::Done)).await;
    assert_eq!(status.runs.len(), 1);
}

#[tokio::test]
async fn a_run_whose_node_dies_is_run_by_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let (fleet, broker) = (Fleet::new(), Durable::new(folder.path()));
    let (sender, mut begun) = unbounded_channel();
    let (expression, _) = half_an_hour_ago();
    announced(&broker, "x", &expression, 24).await;
    let job = |hangs: bool| {
        let report = reporting(&sender);
        let handler = move |context| {
            let reported = report(context);
            async move {
                reported.await?;
                if hangs { std::future::pending().await } else { Ok(()) }
            }
        };
        Job::cron(&*expression, handler).name("x").missed(Missed::Once)
    };
    let a = node(&fleet, &broker, "a", job(true)).await;
    assert_eq!(next(&mut begun).await.1.attempt, 1);
    let b = node(&fleet, &broker, "b", job(false)).await;
    drop(a);
    let (runner, running) = next(&mut begun).await;
    assert_eq!((runner.as_str(), running.attempt), ("shop-b", 2));
    let status =
        status(&b, |status| status.runs.last().is_some_and(|run| run.took.is_some())).await;
    let outcomes: Vec<Outcome> = status.runs.iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [Outcome::Lost, Outcome::Done]);
}

#[tokio::test]
async fn what_all_nodes_missed_follows_the_policy() {
    let (expression, last) = half_an_hour_ago();
    for (missed, expected) in [
        (Missed::Skip, vec![]),
        (Missed::Once, vec![last]),
        (Missed::All(3), vec![last - 120, last - 60, last]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let (fleet, broker) = (Fleet::new(), Durable::new(folder.path()));
        let (sender, mut begun) = unbounded_channel();
        announced(&broker, "x", &expression, 24).await;
        let job = Job::cron(&*expression, reporting(&sender)).name("x").missed(missed);
        let service = node(&fleet, &broker, "a", job).await;
        for minute in &expected {
            assert_eq!(millis(next(&mut begun).await.1.time), minute * 60_000, "{missed:?}");
        }
        let status = status(&service, |status| {
            status.runs.len() == expected.len()
                && status.runs.iter().all(|run| run.outcome == Outcome::Done)
        });
        let next = status.await.next.expect("a moment");
        assert_eq!(millis(next), (last + 60) * 60_000);
        service.stop().await.expect("it stops");
        assert!(begun.try_recv().is_err(), "{missed:?}");
    }
}

#[tokio::test]
async fn a_failure_and_a_panic_are_tried_again_as_often_as_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let (fleet, broker) = (Fleet::new(), Durable::new(folder.path()));
    let (sender, mut begun) = unbounded_channel();
    let (expression, _) = half_an_hour_ago();
    announced(&broker, "x", &expression, 24).await;
    let report = reporting(&sender);
    let handler = move |context: Context| {
        let trace = context.trace().trace_id();
        let attempt = context.job().map_or(0, |job| job.attempt);
        let reported = report(context);
        async move {
            reported.await?;
            match attempt {
                1 => Err(Error::unavailable(format!("no disk in {trace}"))),
                2 => panic!("a bug"),
                _ => Err(Error::unavailable(format!("no disk in {trace}"))),
            }
        }
    };
    let job = Job::cron(&*expression, handler)
        .name("x")
        .missed(Missed::Once)
        .max_attempts(3)
        .retry(Backoff::None);
    let service = node(&fleet, &broker, "a", job).await;
    for attempt in 1..=3 {
        assert_eq!(next(&mut begun).await.1.attempt, attempt);
    }
    let status = status(&service, |status| {
        status.runs.len() == 3 && status.runs.iter().all(|run| run.outcome == Outcome::Failed)
    });
    let runs = status.await.runs;
    let error = |run: usize| runs[run].error.clone().unwrap_or_default();
    assert!(error(1).contains("panic recovered"), "{}", error(1));
    // One trace holds all attempts.
    assert!(error(0).contains("no disk in ") && error(0) == error(2), "{runs:?}");
    service.stop().await.expect("it stops");
    assert!(begun.try_recv().is_err());
}

#[tokio::test]
async fn a_run_that_takes_too_long_has_failed_and_knows_its_deadline() {
    let fleet = Fleet::new();
    let handler = |context: Context| async move {
        assert!(context.remaining().is_some_and(|left| left <= Duration::from_millis(50)));
        std::future::pending().await
    };
    let job = Job::every("1s", handler).scope(Scope::Node).timeout(Duration::from_millis(50));
    let service = fleet.start(Service::builder("shop").job(job)).await.expect("it starts");
    let status = status(&service, |status| {
        status.runs.first().is_some_and(|run| run.outcome == Outcome::Failed)
    });
    let error = status.await.runs[0].error.clone().unwrap_or_default();
    assert!(error.contains("did not end within 50ms"), "{error}");
}

#[tokio::test]
async fn the_schedule_of_the_node_that_started_last_holds_for_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let (fleet, broker) = (Fleet::new(), Durable::new(folder.path()));
    let (sender, mut begun) = unbounded_channel();
    let seldom = Job::every("24h", reporting(&sender)).name("x");
    let often = Job::every("1s", reporting(&sender)).name("x");
    let old = node(&fleet, &broker, "old", seldom).await;
    let new = node(&fleet, &broker, "new", often).await;
    next(&mut begun).await;
    // What is left of the fleet goes on by the new one.
    drop(new);
    let wait = async { while next(&mut begun).await.0 != "shop-old" {} };
    timeout(SOON, wait).await.expect("the old node runs by the new schedule");
    old.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_stop_waits_for_a_run_and_begins_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = Fleet::new();
    let broker = Arc::new(Durable::new(folder.path()));
    for scope in [Scope::Fleet, Scope::Node] {
        let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        let handler = {
            let (begun, may_end) = (begun.clone(), may_end.clone());
            move |_: Context| {
                let (begun, may_end) = (begun.clone(), may_end.clone());
                async move {
                    begun.notify_one();
                    drop(may_end.acquire().await);
                    Ok(())
                }
            }
        };
        let job = Job::every("1s", handler).name("x").scope(scope);
        let service = Service::builder("shop").grace(SOON).job(job);
        let service = fleet.service(service).broker(broker.clone()).start().await.expect("a start");
        timeout(SOON, begun.notified()).await.expect("a run");
        let (stopped, ()) = tokio::join!(service.stop(), async {
            // It does not stop by itself.
            tokio::time::sleep(Duration::from_millis(300)).await;
            may_end.add_permits(1);
        });
        stopped.expect("it stops");
        let status = status(&service, |status| !status.runs.is_empty()).await;
        // The end of a run of the fleet is written down; the node that stops may not read it any more.
        if scope == Scope::Node {
            assert_eq!(status.runs[0].outcome, Outcome::Done);
        }
        assert_eq!(status.runs.len(), 1, "{scope:?}");
    }
}

#[tokio::test]
async fn jobs_of_a_node_run_on_each_with_any_broker_and_tell_of_their_runs() -> Result<()> {
    let fleet = Fleet::new();
    let (sender, mut begun) = unbounded_channel();
    let start = |id: &str| {
        let job = Job::every("1s", reporting(&sender)).scope(Scope::Node);
        fleet.start(Service::builder("shop").id(id).job(job).message_layer_fn(
            |incoming, next| async move {
                assert!(incoming.context.job().is_some(), "layers stand around runs");
                next.run(incoming).await
            },
        ))
    };
    let (a, _b) = (start("a").await?, start("b").await?);
    let mut nodes = BTreeSet::new();
    while nodes.len() < 2 {
        nodes.insert(next(&mut begun).await.0);
    }
    status(&a, |status| status.runs.iter().any(|run| run.outcome == Outcome::Done)).await;
    let asked = fleet.client().call("shop", "Debug.Jobs", Json(json!({})));
    let Json(told): Json<Value> = asked.await?;
    let job = &told["jobs"][0];
    assert_eq!(
        (&job["name"], &job["schedule"], &job["scope"]),
        (&json!("every-1s"), &json!("every 1s"), &json!("node"))
    );
    assert!(job["next_ms"].as_u64().is_some_and(|next| next > millis(UNIX_EPOCH)), "{told}");
    assert_eq!(job["runs"][0]["outcome"], "done", "{told}");
    fleet.stop().await
}

#[tokio::test]
async fn a_broker_that_keeps_nothing_is_refused_by_name_with_what_to_use() {
    let fleet = Fleet::new();
    let nothing = |_: Context| async { Ok(()) };
    let error = fleet.start(Service::builder("shop").every("5m", nothing)).await.expect_err("no");
    assert_eq!(error.code(), Code::InvalidArgument);
    for part in ["every-5m", "memory", "durable://", "Scope::Node"] {
        assert!(error.detail().contains(part), "{error}");
    }
    let twice = Service::builder("shop")
        .job(Job::every("5m", nothing).scope(Scope::Node))
        .job(Job::every("300s", nothing).scope(Scope::Node));
    let error = fleet.start(twice).await.expect_err("two of a name");
    assert!(error.detail().contains("two jobs are called \"every-5m\""), "{error}");
}

const FOLDER: &str = "MICRO_TEST_JOBS_FOLDER";

/// Runs a job and says so, until it is killed.
#[tokio::test]
#[ignore = "started by the test below, as a process of its own"]
async fn worker() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let handler = |context: Context| async move {
        let job = context.job().expect("a run");
        let mut out = std::io::stdout().lock();
        writeln!(out, "MARK {} {}", millis(job.time), job.attempt)
            .and_then(|()| out.flush())
            .map_err(|error| Error::internal(error.to_string()))
    };
    let (fleet, broker) = (Fleet::new(), Durable::new(folder));
    let job = Job::every("1s", handler).name("tick").missed(Missed::All(100));
    let _service = node(&fleet, &broker, &std::process::id().to_string(), job).await;
    std::future::pending::<()>().await;
}

fn start(folder: &Path, lines: UnboundedSender<(u64, u32)>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--ignored", "--exact", "worker", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("it starts");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = output.next_line().await {
            if let Some((_, said)) = line.split_once("MARK ")
                && let Some((time, attempt)) = said.split_once(' ')
                && let (Ok(time), Ok(attempt)) = (time.parse(), attempt.parse())
            {
                let _ = lines.send((time, attempt));
            }
        }
    });
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_node_is_killed_no_run_is_lost_and_none_is_begun_twice_without_need() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, mut lines) = unbounded_channel();
    let mut nodes: Vec<Child> = (0..3).map(|_| start(folder.path(), sender.clone())).collect();
    let mut runs: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
    let mut killed = 0;
    while runs.len() < 12 {
        let (time, attempt) = timeout(SOON, lines.recv()).await.expect("a run").expect("a sender");
        assert!(runs.entry(time).or_default().insert(attempt), "attempt {attempt} of {time} twice");
        // The one that runs is as likely as others, and so is the owner of the folder.
        if runs.len().is_multiple_of(2) && killed < runs.len() / 2 {
            let index = killed % nodes.len();
            nodes[index].kill().await.expect("it is killed");
            nodes[index] = start(folder.path(), sender.clone());
            killed += 1;
        }
    }
    let times: Vec<u64> = runs.keys().copied().collect();
    let first = times[0];
    let expected: Vec<u64> = (0..times.len() as u64).map(|run| first + run * 1000).collect();
    assert_eq!(times, expected, "a run was lost");
    let again = runs.values().map(|attempts| attempts.len() - 1).sum::<usize>();
    assert!(again <= killed, "{again} runs were begun again after {killed} deaths: {runs:?}");
}
