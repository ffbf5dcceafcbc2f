//! A data folder that is looked after from a terminal.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![cfg(unix)]

#[allow(dead_code, reason = "other tests use the rest")]
mod fleet;

use std::path::{Path, PathBuf};

use fleet::Fleet;
use micro::broker::{Broker as _, Durable, Message};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// A folder with five messages of 100 bytes.
async fn filled(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    let broker = Durable::new(&data);
    for number in 0..5 {
        let message = Message::new("orders", format!("{number:0100}"));
        broker.publish(message).await.expect("published");
    }
    broker.close().await.expect("closed");
    data
}

fn log(data: &Path) -> PathBuf {
    let entries = std::fs::read_dir(data).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "log")).min().expect("a file")
}

#[tokio::test]
async fn a_damaged_folder_is_found_and_repaired_and_what_is_lost_is_listed() {
    let fleet = Fleet::new();
    let folder = tempfile::tempdir().expect("a folder");
    let data = filled(folder.path()).await;
    let text = data.to_str().expect("text");
    let sound = fleet.micro(["data", "doctor", text]).await;
    assert_eq!(sound.code, 0, "{}", sound.stderr);
    for part in ["owner   none; the last was process", "records 5", "sound", "FILE"] {
        assert!(sound.stdout.contains(part), "{part}: {}", sound.stdout);
    }

    let file = log(&data);
    let mut bytes = std::fs::read(&file).expect("bytes");
    let third = bytes.windows(3).position(|window| window == b"002").expect("the third message");
    bytes[third] ^= 1;
    std::fs::write(&file, &bytes).expect("written");
    let broker = format!("--broker=durable://{text}");
    let refused = fleet.micro(["publish", "orders", "6", &broker]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("`micro data repair "), "{}", refused.stderr);
    let doctor = fleet.micro(["data", "doctor", "--output", "json", &broker]).await;
    assert_eq!(doctor.code, 1);
    let found = &doctor.json()["files"][0];
    assert_eq!((&found["condition"], &found["records"]), (&json!("damaged"), &json!(4)));
    let offset = found["damage"][0]["offset"].as_u64().expect("a number") as usize;
    assert!(offset <= third && third < offset + 200, "{offset} {third}");

    let unasked = fleet.micro(["data", "repair", text]).await;
    assert_eq!(unasked.code, 2, "{}", unasked.stderr);
    assert!(unasked.stderr.contains("4 records that can be read are written anew; lost: record 3"));
    assert_eq!(std::fs::read(&file).expect("bytes"), bytes, "it was not asked to");
    let repaired = fleet.micro(["data", "repair", text, "--yes"]).await;
    assert_eq!(repaired.code, 0, "{}", repaired.stderr);
    assert!(repaired.stdout.contains("4 records kept; as it was in "), "{}", repaired.stdout);
    assert!(repaired.stdout.contains("record 3 lost"), "{}", repaired.stdout);
    let again = fleet.micro(["data", "repair", text]).await;
    assert_eq!((again.code, again.stderr.contains("is sound")), (0, true), "{}", again.stderr);
    let subscribe = ["subscribe", "orders", "--from", "first", "--count", "4", &broker];
    let left = fleet.micro(subscribe).await;
    let ends: Vec<_> = left.stdout.lines().map(|line| &line[99..]).collect();
    assert_eq!(ends, ["0", "1", "3", "4"]);
}

#[tokio::test]
async fn a_folder_is_served_to_a_fleet_by_a_name() {
    let fleet = Fleet::new();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let text = data.to_str().expect("text");
    let serve = ["data", "serve", text, "--name", "shop-data", "--", "--address=127.0.0.1:0"];
    let mut serving = fleet.start(serve);
    let mut said = BufReader::new(serving.stderr.take().expect("a pipe")).lines();
    let line = said.next_line().await.expect("text").expect("a line");
    let process = serving.id().expect("it runs");
    assert!(line.starts_with(&format!("process {process} owns {text} and serves it")), "{line}");
    // Once it is found; a publisher waits for that for some seconds.
    let broker = "--broker=durable://shop-data";
    let published = fleet.micro(["publish", "orders", "7", broker]).await;
    assert_eq!(published.code, 0, "{}", published.stderr);
    let taken = ["subscribe", "orders", "--from", "first", "--count", "1", broker];
    assert_eq!(fleet.micro(taken).await.stdout, "7\n");
    let topics = fleet.micro(["topics", "-o", "json", broker]).await.json();
    assert_eq!((&topics["name"], &topics["messages"]), (&json!("orders"), &json!(1)));
    let doctor = fleet.micro(["data", "doctor", text]).await;
    assert!(
        doctor.stdout.contains(&format!("owner   process {process} since 20")),
        "{}",
        doctor.stdout
    );
    let another = fleet.micro(["data", "serve", text]).await;
    assert_eq!(another.code, 1);
    let says = format!("is already open by process {process} since 20");
    assert!(another.stderr.contains(&says), "{}", another.stderr);
    let repair = fleet.micro(["data", "repair", text]).await;
    assert_eq!((repair.code, repair.stderr.contains("is sound")), (0, true), "{}", repair.stderr);
    serving.kill().await.expect("it ends");
}

#[tokio::test]
async fn mistakes_about_folders_say_what_would_do() {
    let fleet = Fleet::new();
    let missing = fleet.micro(["data", "doctor", "/nowhere/at/all"]).await;
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.contains("there is no data folder /nowhere/at/all"),
        "{}",
        missing.stderr
    );
}
