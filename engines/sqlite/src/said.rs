//! What SQLite says, in words for the one who can change it.

use std::path::Path;

use micro::{Code, Error};
use rusqlite::ErrorCode;

/// Whether the connection is of no use any more: what it believes of the file may be wrong.
pub(crate) fn is_over(error: &rusqlite::Error) -> bool {
    let known = [
        ErrorCode::SystemIoFailure,
        ErrorCode::DatabaseCorrupt,
        ErrorCode::NotADatabase,
        ErrorCode::CannotOpen,
        ErrorCode::ReadOnly,
    ];
    error.sqlite_error_code().is_some_and(|code| known.contains(&code))
}

/// What became of `what`.
pub(crate) fn said(path: &Path, what: &str, error: rusqlite::Error) -> Error {
    let text = format!("{} refuses {what}: {error}", path.display());
    let (code, advice) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Code::Unavailable,
            "another process is writing: try again, or raise `busy=` in the URL",
        ),
        Some(ErrorCode::DiskFull) => {
            (Code::ResourceExhausted, "make room on its disk, and it goes on by itself")
        }
        Some(ErrorCode::DatabaseCorrupt) => (
            Code::DataLoss,
            "it is damaged: bring a copy back, or save what can be read by `sqlite3 FILE .recover`",
        ),
        Some(ErrorCode::NotADatabase) => {
            (Code::FailedPrecondition, "it is no database: name another file in the URL")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            Code::PermissionDenied,
            "let this user write the file and its folder, or name another file in the URL",
        ),
        Some(ErrorCode::CannotOpen) => (
            Code::PermissionDenied,
            "its folder has to be there, and this user has to be allowed to write it",
        ),
        _ => return Error::new(Code::Unavailable, text).with_source(error),
    };
    Error::new(code, format!("{text}: {advice}")).with_source(error)
}
