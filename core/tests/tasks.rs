//! Tasks: messages whose answer is asked for later, by whoever has their id.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![cfg(unix)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use micro::broker::{Durable, Subscriber};
use micro::resilience::Backoff;
use micro::tasks::{State, Task};
use micro::testing::Fleet;
use micro::{Client, Code, Context, Error, Json, Result, Service};
use tokio::sync::Semaphore;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

/// A client as another process has it.
fn client(fleet: &Fleet, folder: &Path) -> Client {
    let builder = Client::builder().environment(false).registry(fleet.registry());
    builder.broker(Arc::new(Durable::new(folder))).build().expect("a client")
}

async fn start(fleet: &Fleet, folder: &Path, id: &str, worker: Subscriber) -> Service {
    let service = Service::builder("studio").id(id).subscriber(worker);
    let broker = Arc::new(Durable::new(folder));
    fleet.service(service).broker(broker).start().await.expect("it starts")
}

/// Waits until a task is as expected.
async fn until(task: &Task, is_it: impl Fn(&State) -> bool) -> State {
    let wait = async {
        loop {
            let state = task.state().await.expect("a state");
            if is_it(&state) {
                return state;
            }
        }
    };
    timeout(SOON, wait).await.expect("in time")
}

async fn double(_: Context, Json(number): Json<u64>) -> Result<Json<u64>> {
    match number {
        13 => Err(Error::failed_precondition("thirteen is not doubled")),
        number => Ok(Json(number * 2)),
    }
}

#[tokio::test]
async fn an_answer_is_there_for_whoever_has_the_id_also_after_its_worker_has_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = Fleet::new();
    let sender = client(&fleet, folder.path());
    // Before there is a worker.
    let task = sender.task("double", Json(21_u64)).await.expect("a task");
    assert_eq!(task.state().await.expect("a state"), State::Queued);
    let late = task.result::<Json<u64>>(Duration::from_millis(100)).await.expect_err("none yet");
    assert_eq!(late.code(), Code::DeadlineExceeded);
    let worker = start(&fleet, folder.path(), "a", Subscriber::task("double", double)).await;
    let Json(answer): Json<u64> = task.result(SOON).await.expect("an answer");
    assert_eq!(answer, 42);
    worker.stop().await.expect("it stops");
    let other = client(&fleet, folder.path()).task_by_id(task.id()).expect("an id");
    assert_eq!(other.state().await.expect("a state"), State::Done);
    let Json(answer): Json<u64> = other.result(SOON).await.expect("an answer");
    assert_eq!(answer, 42);
}

#[tokio::test]
async fn who_waits_for_many_gets_each_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = Fleet::new();
    let _worker = start(&fleet, folder.path(), "a", Subscriber::task("double", double)).await;
    let sender = client(&fleet, folder.path());
    let mut waiting = Vec::new();
    for number in 0..50_u64 {
        let task = sender.task("double", Json(number + 100)).await.expect("a task");
        waiting.push(tokio::spawn(async move { task.result::<Json<u64>>(SOON).await }));
    }
    for (number, answer) in (0..50_u64).zip(waiting) {
        let Json(answer) = answer.await.expect("no panic").expect("an answer");
        assert_eq!(answer, (number + 100) * 2);
    }
}

#[tokio::test]
async fn its_state_says_how_far_it_has_come() {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = Fleet::new();
    let may_end = Arc::new(Semaphore::new(0));
    let gate = may_end.clone();
    let work = move |context: Context, Json(name): Json<String>| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.map_err(|error| Error::internal(error.to_string()))?.forget();
            match context.delivered().map_or(0, |delivered| delivered.attempt) {
                1 => Err(Error::unavailable("no disk")),
                _ => Ok(Json(name)),
            }
        }
    };
    let again = Backoff::custom(|_| Duration::from_millis(300));
    let worker = Subscriber::task("draw", work).retry(again);
    let _worker = start(&fleet, folder.path(), "a", worker).await;
    let sender = client(&fleet, folder.path());
    let task = sender.task("draw", Json("cat".to_owned())).await.expect("a task");
    let running = |attempt: u32| State::Running { attempt, node: "studio-a".into() };
    until(&task, |state| *state == running(1)).await;
    may_end.add_permits(1);
    let failed = until(&task, |state| matches!(state, State::Failed { .. })).await;
    let State::Failed { attempt: 1, error } = failed else { panic!("{failed:?}") };
    assert_eq!((error.code(), error.detail()), (Code::Unavailable, "no disk"));
    until(&task, |state| *state == running(2)).await;
    may_end.add_permits(1);
    let Json(name): Json<String> = task.result(SOON).await.expect("an answer");
    assert_eq!(name, "cat");
    assert_eq!(task.state().await.expect("a state"), State::Done);
}

#[tokio::test]
async fn one_that_is_given_up_says_why_whether_it_failed_or_its_worker_panicked() {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = Fleet::new();
    let work = |context: Context, Json(number): Json<u64>| async move {
        assert_ne!(number, 14, "a bug");
        double(context, Json(number)).await
    };
    let worker = Subscriber::task("double", work).max_attempts(2).retry(Backoff::None);
    let _worker = start(&fleet, folder.path(), "a", worker).await;
    let sender = client(&fleet, folder.path());
    for (number, why) in [(13, "thirteen is not doubled"), (14, "panic recovered")] {
        let task = sender.task("double", Json(number)).await.expect("a task");
        let error = task.result::<Json<u64>>(SOON).await.expect_err("none");
        assert_eq!(error.code(), Code::Aborted, "{error}");
        assert!(error.detail().contains(why), "{error}");
        assert!(matches!(task.state().await.expect("a state"), State::Dead { .. }));
    }
}

#[tokio::test]
async fn one_whose_worker_dies_is_done_by_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = Fleet::new();
    let hang = |_: Context, Json(_): Json<u64>| std::future::pending::<Result<Json<u64>>>();
    let first = start(&fleet, folder.path(), "a", Subscriber::task("double", hang)).await;
    let sender = client(&fleet, folder.path());
    let task = sender.task("double", Json(4_u64)).await.expect("a task");
    until(&task, |state| matches!(state, State::Running { .. })).await;
    drop(first);
    let _second = start(&fleet, folder.path(), "b", Subscriber::task("double", double)).await;
    let Json(answer): Json<u64> = task.result(SOON).await.expect("an answer");
    assert_eq!(answer, 8);
}

#[tokio::test]
async fn a_broker_that_keeps_nothing_and_a_wrong_id_are_refused() {
    let fleet = Fleet::new();
    let worker = Service::builder("studio").subscriber(Subscriber::task("double", double));
    let error = fleet.start(worker).await.expect_err("nothing is kept");
    for part in ["results of double", "memory", "durable://"] {
        assert!(error.detail().contains(part), "{error}");
    }
    let error = fleet.client().task("double", Json(1_u64)).await.expect_err("nothing is kept");
    assert_eq!(error.code(), Code::InvalidArgument);
    let folder = tempfile::tempdir().expect("a folder");
    let sender = client(&fleet, folder.path());
    for id in ["", "7", "x-y@double", "double"] {
        let error = sender.task_by_id(id).expect_err("no id");
        assert!(error.detail().contains("no id of a task"), "{error}");
    }
}
