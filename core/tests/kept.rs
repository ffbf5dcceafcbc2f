//! A store between processes that are killed: nothing that was acknowledged is lost, and versions only grow.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use micro::store::{Batch, Change, Fence, File, Place, Store as _};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

const FOLDER: &str = "MICRO_TEST_DATA_FOLDER";
const WRITER: &str = "MICRO_TEST_WRITER";
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes, and says what was acknowledged, until it is killed.
#[tokio::test]
#[ignore = "started by the test below, as a process of its own"]
async fn writer() {
    let (Ok(folder), Ok(name)) = (std::env::var(FOLDER), std::env::var(WRITER)) else { return };
    let store = File::new(folder);
    for number in 0_u64.. {
        let value = number.to_string();
        let change = |key: String| Change::write(Place::default(), key, value.clone());
        let changes = vec![change(format!("{name}/{}", number % 7)), change("anchor".into())];
        let fences = vec![Fence { lock: name.clone(), token: number }];
        let batch = Batch { changes, fences, ..Batch::default() };
        // Where an owner ends, what was asked of it may be made or not.
        if let Ok(versions) = store.apply(batch).await {
            let mut out = std::io::stdout().lock();
            let said = writeln!(out, "MARK {name} {number} {} {}", versions[0], versions[1]);
            said.and_then(|()| out.flush()).expect("the test reads");
        }
    }
}

/// A writer as a process, with lines that go to `lines`.
fn start(folder: &std::path::Path, name: &str, lines: UnboundedSender<String>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--ignored", "--exact", "writer", "--nocapture"])
        .env(FOLDER, folder)
        .env(WRITER, name)
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

/// What was acknowledged.
#[derive(Default)]
struct Ledger {
    /// Number and version by key.
    last: BTreeMap<String, (u64, u64)>,
    versions: BTreeMap<String, u64>,
    anchor: u64,
    count: usize,
}

impl Ledger {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, number, version, anchor] = words[..] else { panic!("a line is whole: {line}") };
        let number: u64 = number.parse().expect("a number");
        let (version, anchor): (u64, u64) =
            (version.parse().expect("a version"), anchor.parse().expect("a version"));
        let before = self.versions.insert(name.to_owned(), anchor).unwrap_or_default();
        assert!(before < version && version < anchor, "versions grow: {line} after {before}");
        self.last.insert(format!("{name}/{}", number % 7), (number, version));
        self.anchor = self.anchor.max(anchor);
        self.count += 1;
    }

    /// Waits for as many more acknowledgements.
    async fn wait(&mut self, lines: &mut UnboundedReceiver<String>, more: usize) {
        let enough = self.count + more;
        while self.count < enough {
            let line = timeout(PATIENCE, lines.recv()).await.expect("writers go on in time");
            self.note(&line.expect("a sender"));
        }
    }
}

#[tokio::test]
async fn whoever_is_killed_what_was_acknowledged_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, mut lines) = unbounded_channel();
    let mut ledger = Ledger::default();
    let mut writers: Vec<_> =
        (0..3).map(|nth| start(folder.path(), &format!("w{nth}"), sender.clone())).collect();
    for round in 0..6 {
        ledger.wait(&mut lines, 30).await;
        // Killed by the system, without a word: the oldest of them owns the folder.
        let mut killed = writers.remove(0);
        killed.kill().await.expect("it ends");
        writers.push(start(folder.path(), &format!("again{round}"), sender.clone()));
    }
    ledger.wait(&mut lines, 30).await;
    for mut writer in writers {
        writer.kill().await.expect("it ends");
    }
    drop(sender);
    while let Some(line) = timeout(PATIENCE, lines.recv()).await.expect("the pipes end") {
        ledger.note(&line);
    }
    let store = File::new(folder.path());
    for (key, (number, version)) in &ledger.last {
        let record = store.read(&Place::default(), key).await.expect("a read").expect("it is kept");
        let found: u64 = String::from_utf8_lossy(&record.value).parse().expect("a number");
        // What was made and not acknowledged any more is behind it.
        assert!(found >= *number && record.version >= *version, "{key}: {found} < {number}");
        assert_eq!(found == *number, record.version == *version, "{key} is as it was written");
    }
    let anchor = store.read(&Place::default(), "anchor").await.expect("a read").expect("kept");
    assert!(anchor.version >= ledger.anchor, "{} < {}", anchor.version, ledger.anchor);
    let fence = Fence { lock: "w2".into(), token: 0 };
    let change = Change::write(Place::default(), "late", "no");
    let stale = Batch { changes: vec![change], fences: vec![fence], ..Batch::default() };
    assert!(store.apply(stale).await.is_err(), "tokens are remembered");
}
