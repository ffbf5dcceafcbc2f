//! How long a full folder takes to open, and how much memory its owner needs, however much is stored. `FULL=1` stores 1 GiB, and a
//! release build judges the time as well.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![cfg(target_os = "linux")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use micro::broker::{Broker, Durable, Message, Start, Subscription, Verdict};
use tokio::process::Command;
use tokio::time::timeout;

const FOLDER: &str = "MICRO_TEST_DATA_FOLDER";
const MESSAGE: usize = 64 << 10;
/// What an owner may have in memory beyond what this program has without one.
const MEMORY: u64 = 64 << 20;
const RECOVERY: Duration = Duration::from_secs(5);

fn is_full() -> bool {
    std::env::var_os("FULL").is_some()
}

fn messages() -> usize {
    (if is_full() { 1 << 30 } else { 96 << 20 }) / MESSAGE
}

/// The most memory that this process ever had, in bytes.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says so");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

/// Opens the folder, and delivers all that is in it.
#[tokio::test]
#[ignore = "started by the test below, as a process of its own"]
async fn owner() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let before = most_memory();
    let begun = Instant::now();
    let broker =
        Durable::connect(&format!("durable://{folder}?max_bytes=4294967296")).expect("a URL");
    broker.own().await.expect("nothing else owns it");
    let opened = begun.elapsed();
    let mut subscription = Subscription::new("orders");
    subscription.queue = Some("billing".into());
    subscription.start = Start::First;
    let mut deliveries = broker.subscribe(subscription).await.expect("subscribed");
    for nth in 0..messages() {
        let delivery = deliveries.next().await.expect("goes on").expect("a message");
        assert_eq!(delivery.delivered.message.body.len(), MESSAGE, "message {nth}");
        delivery.settle(Verdict::Ack).await.expect("settled");
    }
    let grown = most_memory() - before;
    println!("MARK {} {grown}", opened.as_millis());
}

#[tokio::test]
async fn a_full_folder_opens_in_seconds_and_its_owner_stays_small() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let url = format!("durable://{}?ack=written&max_bytes=4294967296", data.display());
    let broker = Durable::connect(&url).expect("a URL");
    let body = Bytes::from(vec![7; MESSAGE]);
    for _ in 0..messages() {
        broker.publish(Message::new("orders", body.clone())).await.expect("published");
    }
    // Let go without a word, as one that is killed does: its successor has to read it all.
    broker.close().await.expect("closed");
    let logs = std::fs::read_dir(&data).expect("a folder").filter_map(Result::ok);
    let logs = logs
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"));
    let last = logs.max().expect("a file");
    let file = std::fs::OpenOptions::new().write(true).open(&last).expect("opened");
    let length = file.metadata().expect("a length").len();
    // Without its last words.
    file.set_len(length - 32).expect("cut");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--ignored", "--exact", "owner", "--nocapture"])
        .env(FOLDER, &data)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let output = timeout(Duration::from_secs(300), command.output()).await.expect("in time");
    let text = String::from_utf8(output.expect("it runs").stdout).expect("text");
    let (_, said) = text.split_once("MARK ").unwrap_or_else(|| panic!("{text}"));
    let mut numbers = said.split_whitespace().map(|word| word.parse::<u64>().expect("a number"));
    let opened = Duration::from_millis(numbers.next().expect("a time"));
    let grown = numbers.next().expect("bytes");
    println!(
        "{} MiB: opened in {opened:?}, {} MiB of memory",
        (messages() * MESSAGE) >> 20,
        grown >> 20
    );
    assert!(grown <= MEMORY, "{grown} bytes of memory");
    if is_full() && !cfg!(debug_assertions) {
        assert!(opened <= RECOVERY, "it took {opened:?}");
    }
}
