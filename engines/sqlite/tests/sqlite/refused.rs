//! What is wrong is told to the one who can change it.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use micro::store::{Change, Place, Store as _, Watch};
use micro::{Code, Reason};
use micro_sqlite::Sqlite;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::store;

fn write(key: &str) -> Change {
    Change::write(Place::default(), key, key.to_owned())
}

#[tokio::test]
async fn a_file_of_another_kind_or_a_newer_program_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("text.db"), "no database, ".repeat(100)).unwrap();
    let other = store(folder.path(), "text.db").apply(write("a").into()).await.unwrap_err();
    assert_eq!(other.code(), Code::FailedPrecondition, "{other}");
    assert!(
        other.detail().contains("text.db") && other.detail().contains("another file"),
        "{other}"
    );
    let newer = store(folder.path(), "newer.db");
    newer.apply(write("a").into()).await.unwrap();
    let bare = Connection::open(folder.path().join("newer.db")).unwrap();
    bare.execute("UPDATE micro_state SET layout = 2", []).unwrap();
    // Also one that has it open.
    for store in [newer, store(folder.path(), "newer.db")] {
        let error = store.apply(write("b").into()).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        assert!(
            error.detail().contains("newer.db") && error.detail().contains("layout 2"),
            "{error}"
        );
    }
    let rows = "SELECT count(*) FROM micro_records";
    assert_eq!(bare.query_row(rows, [], |row| row.get::<_, i64>(0)), Ok(1));
}

#[tokio::test]
async fn a_damaged_file_is_data_loss_and_never_read_over() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    {
        let store = store(folder.path(), "a.db");
        for number in 0..200 {
            store.apply(write(&format!("key {number:04}")).into()).await.unwrap();
        }
    }
    let bare = Connection::open(&path).unwrap();
    bare.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
    drop(bare);
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    // All but the pages of the schema.
    file.seek(SeekFrom::Start(8 * 4096)).unwrap();
    file.write_all(&vec![0xff; length as usize - 8 * 4096]).unwrap();
    drop(file);
    std::os::unix::fs::symlink("a.db", folder.path().join("again.db")).unwrap();
    let store = store(folder.path(), "again.db");
    let error = store.list(&micro::store::Query::all(Place::default())).await.unwrap_err();
    assert_eq!(error.code(), Code::DataLoss, "{error}");
    assert!(error.detail().contains(".recover"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_has_locked_is_told_after_the_time_that_is_set() {
    let folder = TempDir::new().unwrap();
    let rest = format!("{}?busy=300ms", folder.path().join("a.db").display());
    let store = Sqlite::new(&rest).unwrap();
    store.apply(write("a").into()).await.unwrap();
    let bare = Connection::open(folder.path().join("a.db")).unwrap();
    bare.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let error = store.apply(write("b").into()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.detail().contains("raise `busy=`"), "{error}");
    assert!((300..5000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert!(store.read(&Place::default(), "a").await.unwrap().is_some());
    bare.execute_batch("ROLLBACK").unwrap();
    store.apply(write("b").into()).await.unwrap();
    let other = Sqlite::new(&rest.replace("300ms", "400ms")).unwrap();
    let error = other.read(&Place::default(), "a").await.unwrap_err();
    assert!(error.detail().contains("other options"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_forgotten_after_a_while_and_that_is_told() {
    let folder = TempDir::new().unwrap();
    let rest = format!("{}?history=20", folder.path().join("a.db").display());
    let store = Sqlite::new(&rest).unwrap();
    for number in 0..30 {
        let key = format!("k{number}");
        store.apply(write(&key).into()).await.unwrap();
        store.apply(Change::delete(Place::default(), key).into()).await.unwrap();
    }
    let from = |after| Watch { place: Place::default(), prefix: String::new(), after: Some(after) };
    let mut early = store.watch(from(0)).await.unwrap();
    store.tidy().await.unwrap();
    // 60 changes, and the last 20 are known.
    let gone = early.next().await.unwrap_err();
    assert_eq!((gone.code(), gone.reason()), (Code::OutOfRange, Some(Reason::HistoryGone)));
    let gone = store.watch(from(39)).await.err().expect("too early");
    assert_eq!(gone.reason(), Some(Reason::HistoryGone), "{gone}");
    let mut late = store.watch(from(40)).await.unwrap();
    let event = tokio::time::timeout(Duration::from_secs(10), late.next()).await;
    let event = event.unwrap().unwrap().unwrap();
    assert_eq!((event.key.as_str(), event.version, event.record), ("k20", 42, None));
}
