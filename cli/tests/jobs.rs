//! Jobs of a fleet as a terminal shows them.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

#[allow(dead_code, reason = "other tests use the rest")]
mod fleet;

use std::sync::Arc;
use std::time::Duration;

use fleet::Fleet;
use micro::broker::Durable;
use micro::jobs::{Job, Outcome, Scope};
use micro::{Context, Error};

#[tokio::test]
async fn each_job_is_shown_once_with_its_last_run_and_one_with_all_of_them() {
    let fleet = Fleet::new();
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Arc::new(Durable::new(folder.path()));
    let ok = |_: Context| async { Ok(()) };
    let fails = |_: Context| async { Err(Error::unavailable("no disk")) };
    let mut nodes = Vec::new();
    for id in ["a", "b"] {
        let node = fleet.greeter_with("1", |builder| {
            builder
                .id(id)
                .broker(broker.clone())
                .job(Job::cron("* * * * * *", fails).name("mail"))
                .job(Job::every("24h", ok).name("own").scope(Scope::Node))
        });
        nodes.push(node.await);
    }
    let has_run = || {
        let mail = nodes[0].jobs().into_iter().find(|job| job.name == "mail").expect("a job");
        mail.runs.iter().any(|run| run.outcome == Outcome::Failed)
    };
    let wait = async {
        while !has_run() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("a run");
    let told = fleet.micro(["jobs", "greeter"]).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    let lines: Vec<Vec<&str>> =
        told.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 4, "{}", told.stdout);
    assert_eq!(lines[0], ["JOB", "SCHEDULE", "RUNS", "ON", "NEXT", "LAST", "OUTCOME", "TOOK"]);
    assert!(told.stdout.contains("* * * * * * UTC"), "{}", told.stdout);
    assert_eq!((lines[1][0], lines[1][8]), ("mail", "fleet"));
    assert_eq!(lines[2][..6], ["own", "every", "24h", "greeter-a", "in", "23h"]);
    assert_eq!(lines[3][..6], ["own", "every", "24h", "greeter-b", "in", "23h"]);

    let told = fleet.micro(["jobs", "greeter", "mail", "-o", "json"]).await.json();
    let run = &told[0]["runs"][0];
    assert_eq!((&run["attempt"], &run["outcome"]), (&1.into(), &"failed".into()), "{told}");
    assert!(run["error"].as_str().is_some_and(|error| error.contains("no disk")), "{told}");
    let table = fleet.micro(["jobs", "greeter", "mail"]).await;
    assert!(
        table.stdout.contains("failed") && table.stdout.contains("no disk"),
        "{}",
        table.stdout
    );

    let none = fleet.micro(["jobs", "greeter", "male"]).await;
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("has no job male"), "{}", none.stderr);
}
