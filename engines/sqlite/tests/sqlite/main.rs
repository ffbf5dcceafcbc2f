//! The store in files of SQLite.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it expected by failing, and a process of it what was acknowledged"
)]

mod processes;
mod refused;

use std::path::Path;

use micro::store::contract;
use micro::sync;
use micro_sqlite::Sqlite;
use tempfile::TempDir;

/// A handle on the file of this name.
fn store(folder: &Path, file: &str) -> Sqlite {
    Sqlite::new(folder.join(file).to_str().unwrap()).unwrap()
}

/// Two handles. By another name, the file is opened another time, as another process does it.
fn two() -> (Sqlite, Sqlite, TempDir) {
    let folder = TempDir::new().unwrap();
    let one = store(folder.path(), "a.db");
    std::fs::write(folder.path().join("a.db"), "").unwrap();
    std::os::unix::fs::symlink("a.db", folder.path().join("b.db")).unwrap();
    let other = store(folder.path(), "b.db");
    (one, other, folder)
}

micro::store_contract!(|| {
    let (one, other, folder) = two();
    contract::Subject::new(one, other).keeping(folder)
});

micro::sync_contract!(|| {
    let (one, other, folder) = two();
    sync::contract::Subject::over(one, other).keeping(folder)
});
